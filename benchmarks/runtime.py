"""The seam between the benchmarks and the runtimes.

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
    """Return the row of a runtime in WebAssembly, which every browser has."""
    return RuntimeInfo(name, f"{WEB}:{factory}", "browser", labels="never")


def browser_gpu(name: str, factory: str) -> RuntimeInfo:
    return RuntimeInfo(name, f"{WEB}:{factory}", "browser-gpu", ON_A_RENDERER, labels="never")


def emulated(name: str, factory: str, forced: bool = False) -> RuntimeInfo:
    return RuntimeInfo(name, f"{ARM}:{factory}", "arm", IN_AN_EMULATOR, forced, labels="never")


def simulated(name: str, factory: str) -> RuntimeInfo:
    return RuntimeInfo(name, f"{QNN}:{factory}", "qnn", IN_A_SIMULATOR, labels="never")


def attached(name: str, implementation: str) -> RuntimeInfo:
    return RuntimeInfo(name, implementation, "", ON_A_DEVICE, labels="never")


# The order is that of reports, and the first runtime of a target that is installed reads its files for `size`.
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
    """Raised while running where the machine or device lacks something, such as a GPU that a delegate takes.

    It is a result, "unavailable" with this reason, and no failure of the artifact.
    """


class Session(Protocol):
    """One entry of one artifact, loaded. Not thread-safe. The caller closes it."""

    def bind(self, inputs: Tensors) -> None:
        """Set the inputs, given by reference name in reference layout and value range (see `to_file`)."""
        ...

    def invoke(self) -> float:
        """Run once on the bound inputs and return the seconds it took.

        They are timed as near to the runtime as it allows, without copying inputs in or outputs out where the
        runtime separates them.
        """
        ...

    def fetch(self) -> dict[str, Array]:
        """Return copies of the outputs by reference name, in reference layout, float32 where the file is float."""
        ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """A program that executes the artifacts of some targets. Adapters derive from it, for its defaults.

    `timed` is false where the time of `invoke` says nothing about a shipped app, as in an interpreter of this
    project. `about` tells a person what is executed and what that does not prove. `recipes` lists the recipes that
    the runtime is meant for; empty for all.
    """

    name: str
    targets: tuple[str, ...]
    timed: bool
    about: str
    recipes: tuple[str, ...] = ()

    @property
    def evidence(self) -> Label:
        """The label of what this runtime computes."""
        ...

    def unavailable(self) -> str | None:
        """Return why it cannot run here (package, platform, program missing) and what would help, or None.

        Must be cheap: look a package up (importlib.util.find_spec) rather than import it.
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

        Large constants only (more than 16 elements): scales, shapes and biases of a few elements are not weights.
        """
        ...

    def prepare(self, threads: int = 1) -> None:
        """Start what already runs when an app or page starts, such as the browser. By default nothing."""
        return

    def environment(self, threads: int = 1) -> Environment | None:
        """Return what the runtime found around it, such as a browser's threads; by default there is nothing."""
        return None


def resolve_runtimes(asked: Sequence[str]) -> tuple[str, ...]:
    """Return the runtimes of names and groups, in the order of `RUNTIME_ROWS`; without a name, all that run by default.

    Raises UsageError for a name that is neither.
    """
    if not asked:
        return tuple(row.name for row in RUNTIME_ROWS if not row.on_request)
    for name in asked:
        if name not in REGISTRY and name not in GROUPS:
            raise unknown("runtime", name, [*REGISTRY, *GROUPS])
    return tuple(row.name for row in RUNTIME_ROWS if row.name in asked or row.group in asked)


def on_request(name: str) -> bool:
    """Return whether a runtime runs only when it is named; false for one that is no longer registered."""
    return name in REGISTRY and bool(REGISTRY[name].on_request)


def forced(name: str) -> bool:
    """Return whether a runtime computes as an app would have to ask for; false for one no longer registered."""
    return name in REGISTRY and REGISTRY[name].forced


def runs(runtime: Runtime, target: str, recipe: str) -> bool:
    """Return whether the runtime is meant for target x recipe."""
    return target in runtime.targets and (not runtime.recipes or recipe in runtime.recipes)


def load_runtime(name: str) -> Runtime:
    """Import and instantiate a runtime. Raises UsageError for a mistyped name."""
    if name not in REGISTRY:
        raise unknown("runtime", name, REGISTRY)
    module, _, factory = REGISTRY[name].implementation.partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), factory)()
    return runtime


def run(session: Session, inputs: Tensors) -> dict[str, Array]:
    """Bind, invoke and fetch."""
    session.bind(inputs)
    session.invoke()
    return session.fetch()
