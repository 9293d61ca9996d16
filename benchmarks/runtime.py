"""The interface between the benchmarks and the runtimes.

A new runtime is one file that implements `Runtime`, one row in `RUNTIME_ROWS`, and one test.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from benchmarks.evidence.environment import Environment
from benchmarks.evidence.row import Label
from hydramobile.artifact import Entry
from hydramobile.errors import StageError, unknown
from hydramobile.ports import from_file as from_file
from hydramobile.ports import to_file as to_file
from hydramobile.targets import TARGET_ROWS, RuntimeInfo

Array = NDArray[Any]
Tensors = Mapping[str, Array]

WEB, ARM, QNN = "benchmarks.runtimes.web", "benchmarks.runtimes.arm", "benchmarks.runtimes.qnn"
ON_A_RENDERER = "a GPU backend on a software renderer takes seconds per run"
IN_AN_EMULATOR = "emulation takes seconds per run"
IN_A_SIMULATOR = "a vendor's simulator of an NPU takes seconds per run, and its environment 400 MB"
ON_A_DEVICE = "a device belongs to a person"


def browser(name: str, factory: str) -> RuntimeInfo:
    """Return the registry row of a WebAssembly runtime, which every browser can run."""
    return RuntimeInfo(name, f"{WEB}:{factory}", "browser", labels="never")


def browser_gpu(name: str, factory: str) -> RuntimeInfo:
    return RuntimeInfo(name, f"{WEB}:{factory}", "browser-gpu", ON_A_RENDERER, labels="never")


def emulated(name: str, factory: str, forced: bool = False) -> RuntimeInfo:
    return RuntimeInfo(name, f"{ARM}:{factory}", "arm", IN_AN_EMULATOR, forced, labels="never")


def simulated(name: str, factory: str) -> RuntimeInfo:
    return RuntimeInfo(name, f"{QNN}:{factory}", "qnn", IN_A_SIMULATOR, labels="never")


def attached(name: str, implementation: str) -> RuntimeInfo:
    return RuntimeInfo(name, implementation, "", ON_A_DEVICE, labels="never")


# Reports list runtimes in this order. The first installed runtime of a target reads its files for `size`.
RUNTIME_ROWS = (
    RuntimeInfo("pytorch", "benchmarks.runtimes.pytorch:PyTorchRuntime"),
    RuntimeInfo("onnxruntime", "benchmarks.runtimes.onnxruntime:OnnxRuntime"),
    RuntimeInfo("litert", "benchmarks.runtimes.litert:LiteRTRuntime"),
    RuntimeInfo("coreml-mil", "benchmarks.runtimes.coreml_mil:MILRuntime", labels="limited"),
    RuntimeInfo("coreml-predict", "benchmarks.runtimes.coreml_predict:PredictRuntime"),
    RuntimeInfo("tfjs-tensorflow", "benchmarks.runtimes.tfjs_tensorflow:TensorFlowRuntime", labels="never"),
    RuntimeInfo("tfjs-node", "benchmarks.runtimes.tfjs_node:NodeRuntime", labels="limited"),
    browser("tfjs-web", "tfjs_wasm"),
    browser("ort-web", "ort_wasm"),
    browser("litert-web", "litert_wasm"),
    browser_gpu("tfjs-web-webgl", "tfjs_webgl"),
    browser_gpu("tfjs-web-webgpu", "tfjs_webgpu"),
    browser_gpu("ort-web-webgpu", "ort_webgpu"),
    browser_gpu("litert-web-webgpu", "litert_webgpu"),
    emulated("litert-arm-a53", "litert_a53"),
    emulated("litert-arm-a76", "litert_a76"),
    emulated("litert-arm-a76-fp16", "litert_a76_fp16", forced=True),
    emulated("litert-arm-v86", "litert_v86"),
    emulated("ort-arm-a53", "ort_a53"),
    emulated("ort-arm-a76", "ort_a76"),
    RuntimeInfo("coreai", "benchmarks.runtimes.coreai:CoreAIRuntime", labels="limited"),
    simulated("ort-qnn-v73", "v73"),
    simulated("ort-qnn-v75", "v75"),
    simulated("ort-qnn-v79", "v79"),
    attached("litert-android", "benchmarks.runtimes.android:AndroidRuntime"),
    attached("litert-android-gpu", "benchmarks.runtimes.android:AndroidGpuRuntime"),
    attached("coreml-device", "benchmarks.runtimes.coreml_device:PhoneRuntime"),
    attached("coreml-mac", "benchmarks.runtimes.coreml_device:MacRuntime"),
    *(runtime for target in TARGET_ROWS for runtime in target.runtimes),
)
REGISTRY = {row.name: row for row in RUNTIME_ROWS}
GROUPS = {
    group: tuple(row.name for row in RUNTIME_ROWS if row.group == group)
    for group in dict.fromkeys(r.group for r in RUNTIME_ROWS)
    if group
}


class Absent(StageError):
    """The machine or device lacks a requirement, such as a GPU that the delegate supports; raised while running.

    The row becomes "unavailable" with this reason. The artifact did not fail.
    """


class Session(Protocol):
    """A loaded entry of one artifact. Not thread-safe. The caller closes it."""

    def bind(self, inputs: Tensors) -> None:
        """Set the inputs, given by reference name in reference layout and value range (see `to_file`)."""
        ...

    def invoke(self) -> float:
        """Run once on the bound inputs and return the seconds of the run.

        The clock is as close to the runtime as its API allows. Copies of inputs and outputs are not timed if the
        runtime separates them from the run.
        """
        ...

    def fetch(self) -> dict[str, Array]:
        """Return copies of the outputs by reference name, in reference layout, float32 where the file is float."""
        ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """A program that executes the artifacts of some targets. Adapters derive from it to inherit its defaults.

    `timed` is false if the time of `invoke` does not predict an app's, as in an interpreter of this project. `about`
    describes the code that is executed, and the limits of its evidence. `recipes` lists the recipes that the runtime
    supports; empty for all.
    """

    name: str
    targets: tuple[str, ...]
    timed: bool
    about: str
    recipes: tuple[str, ...] = ()

    @property
    def evidence(self) -> Label:
        """The evidence label of this runtime's results."""
        ...

    def unavailable(self) -> str | None:
        """Return why the runtime cannot run here (missing package, platform, program) with a remedy; None if it can.

        Must be cheap: look for a package with importlib.util.find_spec, and do not import it.
        """
        ...

    def version(self) -> dict[str, str]:
        """Return the versions of the runtime, such as {"onnxruntime": "1.32.0"}."""
        ...

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> Session:
        """Load `entry` of the artifact in `folder`. Raises StageError("open") naming the file and the reason."""
        ...

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        """Return bytes of weights by storage dtype ("float32", "float16", "int8", ...), read from the saved file.

        Only constants of more than 16 elements count: small ones are scales, shapes or biases.
        """
        ...

    def prepare(self, threads: int = 1) -> None:
        """Start the processes that already run when an app or page starts, such as the browser. By default none."""
        return

    def environment(self, threads: int = 1) -> Environment | None:
        """Return the environment of the runtime, such as a browser's threads; None by default."""
        return None


def resolve_runtimes(asked: Sequence[str]) -> tuple[str, ...]:
    """Resolve names of runtimes and groups to runtimes, in the order of `RUNTIME_ROWS`.

    Without a name, return all runtimes that run by default. Raises UsageError for an unknown name.
    """
    if not asked:
        return tuple(row.name for row in RUNTIME_ROWS if not row.on_request)
    for name in asked:
        if name not in REGISTRY and name not in GROUPS:
            raise unknown("runtime", name, [*REGISTRY, *GROUPS])
    return tuple(row.name for row in RUNTIME_ROWS if row.name in asked or row.group in asked)


def on_request(name: str) -> bool:
    """Return whether a runtime runs only when it is named; false for an unregistered name."""
    return name in REGISTRY and bool(REGISTRY[name].on_request)


def forced(name: str) -> bool:
    """Return whether an app must explicitly request this runtime's arithmetic; false for an unregistered name."""
    return name in REGISTRY and REGISTRY[name].forced


def runs(runtime: Runtime, target: str, recipe: str) -> bool:
    """Return whether the runtime supports target x recipe."""
    return target in runtime.targets and (not runtime.recipes or recipe in runtime.recipes)


def load_runtime(name: str) -> Runtime:
    """Import and instantiate a runtime. Raises UsageError for an unknown name."""
    if name not in REGISTRY:
        raise unknown("runtime", name, REGISTRY)
    module, _, factory = REGISTRY[name].implementation.partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), factory)()
    return runtime


def run(session: Session, inputs: Tensors) -> dict[str, Array]:
    """Bind the inputs, run once and return the outputs."""
    session.bind(inputs)
    session.invoke()
    return session.fetch()
