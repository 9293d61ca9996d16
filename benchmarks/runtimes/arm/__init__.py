"""Run LiteRT and ONNX Runtime as ARM code: their aarch64 wheels under qemu's user mode, on the files as they ship.

The outputs come from a phone's own kernels, so an error here is one that a phone makes too. Emulation says nothing
about time. `count` counts instructions instead, which do not jitter.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from benchmarks.evidence.environment import EmulatedCpu, Environment
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors, from_file, load_runtime, to_file
from benchmarks.runtimes.arm import sysroot
from benchmarks.runtimes.arm.cpus import CPUS, Cpu
from benchmarks.runtimes.arm.emulator import Job, trusted
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import inside

# Engine (guest.py) -> (the target whose files it runs, its package, the runtime of this computer for these files).
ENGINES = {
    "litert": ("litert", "ai-edge-litert", "litert"),
    "litert-fp16": ("litert", "ai-edge-litert", "litert"),
    "ort": ("onnx", "onnxruntime", "onnxruntime"),
}
ABOUT = {
    "litert": "LiteRT with XNNPACK",
    "litert-fp16": "LiteRT with XNNPACK told to compute in fp16",
    "ort": "ONNX Runtime",
}


class ArmSession:
    """Run one entry of one artifact in the guest."""

    def __init__(self, job: Job, entry: Entry) -> None:
        self.job, self.entry = job, entry

    def bind(self, inputs: Tensors) -> None:
        self.job.bind({port.file_name: to_file(port, inputs[port.name]) for port in self.entry.inputs})

    def invoke(self) -> float:
        """Run, and return the seconds of emulation, which mean nothing: the runtime is not `timed`."""
        started = perf_counter()
        self.job.invoke()
        return perf_counter() - started

    def count(self, runs: int) -> dict[str, int]:
        """Return the instructions of `runs` runs by class (insn.c)."""
        return self.job.count(runs)

    def fetch(self) -> dict[str, Array]:
        outputs = self.job.fetch()
        return {port.name: from_file(port, outputs[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.job.close()


class ArmRuntime(Runtime):
    """Run `engine` on the emulated processor `cpu`. The runtime is named after both."""

    evidence: Label = "emulated-arm"
    timed = False
    engine = ""
    cpu: Cpu
    counting = False

    def __init__(self) -> None:
        target, self.package, self.reader = ENGINES[self.engine]
        first, _, mode = self.engine.partition("-")
        self.name = "-".join(filter(None, (first, "arm", self.cpu.name, mode)))
        self.targets = (target,)
        self.about = (
            f"{ABOUT[self.engine]} as ARM code, emulated as {self.cpu.model} ({self.cpu.about}): "
            "a phone's kernels and their numbers, not their time"
        )

    def unavailable(self) -> str | None:
        return sysroot.absent()

    def version(self) -> dict[str, str]:
        return {self.package: sysroot.versions()[self.package], "cpu": self.cpu.model}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> ArmSession:
        file = inside(folder, entry.file, "open")
        try:
            emulator = trusted(self.cpu, self.engine, self.counting)
            outputs = [port.file_name for port in entry.outputs]
            return ArmSession(emulator.open(self.engine, file, entry.function or entry.name, outputs, threads), entry)
        except StageError as error:
            stage = "open" if error.stage == "run" else error.stage
            raise StageError(stage, f"{file}: {error.message}") from error

    def counter(self) -> ArmRuntime:
        """Return this runtime with the instruction counter loaded, for `ArmSession.count`. It is slower."""
        runtime = type(self)()
        runtime.counting = True
        return runtime

    def environment(self, threads: int = 1) -> Environment:
        """Return what the libraries see of the processor, and the versions of what runs there."""
        guest = trusted(self.cpu, self.engine, self.counting).facts
        cpu = EmulatedCpu(
            cpu=self.cpu.model,
            part=self.cpu.part,
            machine=guest["machine"],
            python=guest["python"],
            features=tuple(guest["features"]),
            versions=sysroot.versions(),
        )
        return Environment(emulator=cpu)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return load_runtime(self.reader).read_dtypes(folder, entry)


def combined(engine: str, cpu: str, *recipes: str) -> Callable[[], ArmRuntime]:
    """Return the class of `engine` on `cpu`, which runs only `recipes` where any are given."""
    return type(f"{engine}_{cpu}", (ArmRuntime,), {"engine": engine, "cpu": CPUS[cpu], "recipes": recipes})


litert_a53, litert_a76 = combined("litert", "a53"), combined("litert", "a76")
# Only a file with float16 weights is meant to be computed in half precision.
litert_a76_fp16 = combined("litert-fp16", "a76", "float16")
# Its kernels differ from those of the Cortex-A76 in int8 only.
litert_v86 = combined("litert", "v86", "w8a8")
ort_a53, ort_a76 = combined("ort", "a53"), combined("ort", "a76")
