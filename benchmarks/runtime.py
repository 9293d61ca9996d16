"""The seam between the benchmarks and the runtimes. A new runtime is one file that implements `Runtime`, one row
in `IMPLEMENTATIONS`, and a short test."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from hydramobile.artifact import Entry
from hydramobile.errors import StageError, unknown
from hydramobile.ports import from_file as from_file
from hydramobile.ports import to_file as to_file

Array = NDArray[Any]
Tensors = Mapping[str, Array]

# Dotted names, so that listing runtimes imports no vendor.
IMPLEMENTATIONS = {
    "pytorch": "benchmarks.runtimes.pytorch:PyTorchRuntime",
    "onnxruntime": "benchmarks.runtimes.onnxruntime:OnnxRuntime",
    "litert": "benchmarks.runtimes.litert:LiteRTRuntime",
    "coreml-mil": "benchmarks.runtimes.coreml_mil:MILRuntime",
    "coreml-predict": "benchmarks.runtimes.coreml_predict:PredictRuntime",
    "tfjs-tensorflow": "benchmarks.runtimes.tfjs_tensorflow:TensorFlowRuntime",
    "tfjs-node": "benchmarks.runtimes.tfjs_node:NodeRuntime",
    "tfjs-web": "benchmarks.runtimes.web:tfjs_wasm",
    "ort-web": "benchmarks.runtimes.web:ort_wasm",
    "litert-web": "benchmarks.runtimes.web:litert_wasm",
    "tfjs-web-webgl": "benchmarks.runtimes.web:tfjs_webgl",
    "tfjs-web-webgpu": "benchmarks.runtimes.web:tfjs_webgpu",
    "ort-web-webgpu": "benchmarks.runtimes.web:ort_webgpu",
    "litert-web-webgpu": "benchmarks.runtimes.web:litert_webgpu",
    "litert-arm-a53": "benchmarks.runtimes.arm:litert_a53",
    "litert-arm-a76": "benchmarks.runtimes.arm:litert_a76",
    "litert-arm-a76-fp16": "benchmarks.runtimes.arm:litert_a76_fp16",
    "litert-arm-v86": "benchmarks.runtimes.arm:litert_v86",
    "ort-arm-a53": "benchmarks.runtimes.arm:ort_a53",
    "ort-arm-a76": "benchmarks.runtimes.arm:ort_a76",
    "coreai": "benchmarks.runtimes.coreai:CoreAIRuntime",
    "ort-qnn-v73": "benchmarks.runtimes.qnn:v73",
    "ort-qnn-v75": "benchmarks.runtimes.qnn:v75",
    "ort-qnn-v79": "benchmarks.runtimes.qnn:v79",
    "litert-android": "benchmarks.runtimes.android:AndroidRuntime",
    "litert-android-gpu": "benchmarks.runtimes.android:AndroidGpuRuntime",
    "coreml-device": "benchmarks.runtimes.coreml_device:PhoneRuntime",
    "coreml-mac": "benchmarks.runtimes.coreml_device:MacRuntime",
}
# A GPU backend on a software renderer takes seconds a run: judged when asked for by name.
GPU = ("tfjs-web-webgl", "tfjs-web-webgpu", "ort-web-webgpu", "litert-web-webgpu")
# Emulation takes seconds a run as well (`make parity-arm`).
EMULATED = ("litert-arm-a53", "litert-arm-a76", "litert-arm-a76-fp16", "litert-arm-v86", "ort-arm-a53", "ort-arm-a76")
# Arithmetic that a library uses only where an app asks for it: judged by the same limits, to tell whether an app may. A
# file that does not keep them there is refused there, and ships for what it does without being asked.
FORCED = ("litert-arm-a76-fp16",)
# A device is a person's: used when asked for by name.
DEVICES = ("litert-android", "litert-android-gpu", "coreml-device", "coreml-mac")
# A vendor's simulator of an NPU takes seconds a run, and its environment 400 MB.
SIMULATED = ("ort-qnn-v73", "ort-qnn-v75", "ort-qnn-v79")
ON_REQUEST = (*GPU, *EMULATED, *DEVICES, *SIMULATED)
# Names for several at once.
GROUPS = {"browser": ("tfjs-web", "ort-web", "litert-web"), "browser-gpu": GPU, "arm": EMULATED, "qnn": SIMULATED}
# Where a number comes from; every figure in a report carries one of these.
EVIDENCE = (
    "measured-on-device",
    "host",
    "browser-host",
    "emulated-arm",
    "instruction-proxy",
    "interpreted",
    "static",
)


class Absent(StageError):
    """Seen only while running: the machine or device lacks what was asked for, such as a GPU that a delegate takes.

    A result, "unavailable" with this reason, and no failure of the artifact.
    """


class Session(Protocol):
    """One entry of one artifact, loaded. Not thread-safe. Used as a context manager, or closed by `close`."""

    def bind(self, inputs: Tensors) -> None:
        """Set the inputs, given by reference name in reference layout and value range (see `to_file`)."""
        ...

    def invoke(self) -> float:
        """Run once on the bound inputs; returns seconds, timed as near to the runtime as it allows
        (without copying inputs in or outputs out where the runtime separates them)."""
        ...

    def fetch(self) -> dict[str, Array]:
        """Copies of the outputs by reference name, in reference layout, float32 where the file has a float type."""
        ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """A program that executes artifacts of some targets."""

    name: str
    evidence: str
    targets: tuple[str, ...]
    # False where the time of `invoke` says nothing about a shipped app (an interpreter of ours).
    timed: bool
    # For humans: what is executed and what that does not prove.
    about: str

    def unavailable(self) -> str | None:
        """Why it cannot run here (package, platform, program missing), with the command that would help; or None.

        Must be cheap: look a package up (importlib.util.find_spec) rather than import it.
        """
        ...

    def version(self) -> dict[str, str]:
        """Versions of the runtime, such as {"onnxruntime": "1.32.0"}."""
        ...

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> Session:
        """Load `entry` of the artifact in `folder`. Raises StageError("open") naming the file and the reason."""
        ...

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        """Bytes of weights by storage dtype ("float32", "float16", "int8", ...), read from the saved file.

        Large constants only (more than 16 values): scales, shapes and biases of a few values are not weights.
        """
        ...


def resolve_runtimes(asked: Sequence[str]) -> tuple[str, ...]:
    """Names of runtimes from names and groups; nothing asked means all but those that run on request.

    Raises UsageError for a name that is neither.
    """
    if not asked:
        return tuple(name for name in IMPLEMENTATIONS if name not in ON_REQUEST)
    for name in asked:
        if name not in IMPLEMENTATIONS and name not in GROUPS:
            raise unknown("runtime", name, [*IMPLEMENTATIONS, *GROUPS])
    wanted = {member for name in asked for member in GROUPS.get(name, (name,))}
    return tuple(name for name in IMPLEMENTATIONS if name in wanted)


def runs(runtime: Runtime, target: str, recipe: str) -> bool:
    """Whether the runtime is meant for target x recipe; one that names `recipes` is for those alone."""
    recipes: Sequence[str] = getattr(runtime, "recipes", ())
    return target in runtime.targets and (not recipes or recipe in recipes)


def load_runtime(name: str) -> Runtime:
    if name not in IMPLEMENTATIONS:
        raise unknown("runtime", name, IMPLEMENTATIONS)
    dotted, _, kind = IMPLEMENTATIONS[name].partition(":")
    runtime: Runtime = getattr(importlib.import_module(dotted), kind)()
    return runtime


def run(session: Session, inputs: Tensors) -> dict[str, Array]:
    """bind, invoke, fetch."""
    session.bind(inputs)
    session.invoke()
    return session.fetch()
