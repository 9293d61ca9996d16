"""Run the ARM userland under qemu's user mode: one guest process (guest.py) for many jobs, as its start is slow."""

from __future__ import annotations

import re
import resource
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.adapters.child import Child
from benchmarks.runtimes.arm import self_test, sysroot
from benchmarks.runtimes.arm.cpus import Cpu
from hydramobile.errors import StageError

Array = NDArray[Any]
GUEST = Path(__file__).with_name("guest.py")
# Seconds until a guest counts as hung. A start takes 4 s of processor time, a run of a phone's net a few seconds.
START_LIMIT = 180.0
RUN_LIMIT = 300.0
MARK = re.compile(r"(\w+)=(\d+)")


class Emulator:
    """Run a guest on `cpu`. `counting` loads the instruction counter, which makes everything slower.

    Raises StageError("sysroot") where it cannot run here. Use `trusted`, which tests it first.
    """

    def __init__(self, cpu: Cpu, counting: bool = False) -> None:
        self.cpu = cpu
        self.root = sysroot.verified()
        self.scratch = tempfile.TemporaryDirectory(prefix="arm-")
        self.marks = Path(self.scratch.name) / "marks"
        plugin = ["-plugin", f"{self.root / 'insn.so'},out={self.marks}"] if counting else []
        self.child = Child(f"{cpu.model} (emulated)", [*command(self.root, cpu, plugin), str(GUEST)], clean())
        self.tested: set[str] = set()
        self.facts = self.ask({"do": "hello"}, limit=START_LIMIT)[0]

    def ask(
        self, request: Mapping[str, Any], payload: bytes = b"", limit: float = RUN_LIMIT
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and return the answer and its payload.

        Raises StageError("run") where the guest refuses, dies (naming the signal) or hangs.
        """
        answer, data = self.child.ask(request, payload, limit)
        if not answer.pop("ok"):
            raise StageError("run", f"{request['do']} on {self.child.name}: {answer['error']}")
        return answer, data

    def open(self, engine: str, file: Path, function: str, outputs: Sequence[str], threads: int = 1) -> Job:
        """Open one function of a file in the guest."""
        request = {"do": "open", "engine": engine, "file": str(file.resolve()), "function": function}
        answer, _ = self.ask({**request, "outputs": list(outputs), "threads": threads}, limit=START_LIMIT)
        return Job(self, int(answer["session"]))

    def counted(self) -> dict[str, int]:
        """Return the instructions between the last two markers, by class."""
        lines = self.marks.read_text(encoding="utf-8").splitlines() if self.marks.is_file() else []
        if len(lines) < 2:
            raise StageError("count", f"the instruction counter left {len(lines)} markers instead of 2 or more")
        return {name: int(value) for name, value in MARK.findall(lines[-1])}

    def close(self) -> None:
        self.child.close()
        self.scratch.cleanup()


class Job:
    """Run one function of one file in the guest."""

    def __init__(self, emulator: Emulator, number: int) -> None:
        self.emulator, self.number = emulator, number

    def ask(self, do: str, payload: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Send a request for this job."""
        return self.emulator.ask({"do": do, "session": self.number, **fields}, payload)

    def bind(self, feeds: Mapping[str, Array]) -> None:
        tensors = [{"name": n, "shape": list(v.shape), "dtype": str(v.dtype)} for n, v in feeds.items()]
        self.ask("bind", b"".join(np.ascontiguousarray(value).tobytes() for value in feeds.values()), tensors=tensors)

    def invoke(self) -> None:
        self.ask("invoke")

    def count(self, runs: int) -> dict[str, int]:
        """Return the instructions of `runs` runs by class. The emulator must have been started with `counting`."""
        self.ask("count", runs=runs)
        return self.emulator.counted()

    def fetch(self) -> dict[str, Array]:
        answer, data = self.ask("fetch")
        outputs: dict[str, Array] = {}
        start = 0
        for tensor in answer["tensors"]:
            size = int(np.prod(tensor["shape"], dtype=np.int64))
            value = np.frombuffer(data, tensor["dtype"], size, start).reshape(tensor["shape"])
            outputs[tensor["name"]], start = value, start + value.nbytes
        return outputs

    def close(self) -> None:
        if self.emulator.child.process.poll() is None:
            self.ask("close")


def command(root: Path, cpu: Cpu, options: Sequence[str] = ()) -> list[str]:
    """Return the command that runs ARM CPython on `cpu`, up to the script's name. `options` are qemu's."""
    folder = root / "cpus" / cpu.name
    settings = f"PYTHONPATH={root / 'site'},PYTHONHASHSEED=0,OMP_NUM_THREADS=1,OPENBLAS_NUM_THREADS=1"
    qemu = shutil.which(sysroot.QEMU) or sysroot.QEMU
    return [
        qemu,
        "-cpu",
        cpu.model,
        "-L",
        str(folder),
        *options,
        "-E",
        settings,
        str(folder / "usr/bin/python3.11"),
        "-sSB",
    ]


def clean() -> dict[str, str]:
    """Return the guest's environment, without the host's libraries, and switch off core files here and in children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard) if soft else (soft, hard))
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": tempfile.gettempdir()}


RUNNING: dict[tuple[str, bool], Emulator] = {}


def trusted(cpu: Cpu, engine: str, counting: bool = False) -> Emulator:
    """Return the one emulator of this process for `cpu`, restarted where a file crashed the last one.

    Raises StageError("self-test") where it computes the library of `engine` wrongly.
    """
    emulator = RUNNING.get((cpu.name, counting))
    if emulator is None or emulator.child.process.poll() is not None:
        emulator = RUNNING[cpu.name, counting] = Emulator(cpu, counting)
    library = engine.partition("-")[0]
    if library not in emulator.tested:
        try:
            self_test.check(emulator.open, library)
        except StageError as error:
            emulator.close()
            raise StageError("self-test", error.message) from error
        emulator.tested.add(library)
    return emulator
