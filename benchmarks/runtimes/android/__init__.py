"""Run LiteRT on an attached Android device, through adb and a benchmark_model binary that the user names.

Parity, latency and profile are separate runs of it: the times of a profiled run and the outputs of a timed run are
never used. The evidence label depends on what the device reports about itself: see `phone.label`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import monotonic

import numpy as np

from benchmarks.evidence.device import Condition, DeviceInfo, Timings
from benchmarks.evidence.environment import Environment
from benchmarks.evidence.profile import OpTime
from benchmarks.evidence.row import Label
from benchmarks.optional import GraphOrder
from benchmarks.runtime import Absent, Array, Runtime, Tensors, from_file, load_runtime, to_file
from benchmarks.runtimes.android import tool
from benchmarks.runtimes.android.phone import Phone, label, no_phone
from hydramobile.artifact import Entry, Port, read_artifact
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes, sha256_file

TOOL = "HYDRA_BENCHMARK_MODEL"
# The runtime of this computer that reads the same files.
READER = "litert"
# Seconds after which a run of the tool is taken for hung.
HANG = float(os.environ.get("HYDRA_BENCHMARK_HANG", "180"))


def no_tool() -> str | None:
    """Return why there is no benchmark_model, or None where there is one."""
    given = os.environ.get(TOOL, "")
    if not given:
        return "no benchmark_model was named; give its path (arm64 Android build): make bench-android TOOL=path"
    return None if Path(given).is_file() else f"there is no file {given} (benchmark_model's path)"


class Workbench:
    """Hold the device with the tool on it, one per process. Each file is pushed once."""

    def __init__(self) -> None:
        self.phone = Phone()
        self.binary = Path(os.environ[TOOL]).read_bytes()
        self.pushed: dict[str, str] = {}
        self.about = self.phone.identity()
        self.set_up()
        atexit.register(self.clean)

    def set_up(self) -> None:
        """Make a folder on the device and push the tool: at first, and after the device went away and came back."""
        self.pushed.clear()
        self.phone.start()
        try:
            self.phone.push(self.binary, f"{self.phone.root}/benchmark_model", 0o755)
        except StageError:
            self.clean()
            raise

    def clean(self) -> list[str]:
        """Remove our files from the device. Where it is not attached, the next run removes them."""
        with contextlib.suppress(StageError):
            if self.phone.attached():
                return self.phone.sweep()
        return []

    def model(self, path: Path) -> str:
        """Push a file unless it is there, and return its path on the device."""
        key = sha256_file(path)
        if key not in self.pushed:
            pushed = f"{self.phone.root}/{key[:16]}.tflite"
            self.phone.push(path.read_bytes(), pushed)
            self.pushed[key] = pushed
        return self.pushed[key]

    def run(self, path: Path, entry: Entry, flags: Sequence[str]) -> str:
        """Run the tool and return its output. Raises StageError("run") where it fails or hangs; then it is killed."""
        phone = self.phone
        words = [f"--graph={self.model(path)}", f"--signature_to_run_for={entry.function or entry.name}", *flags]
        command = " ".join(map(shlex.quote, words))
        # In the background with its process id in a file, so that it can be killed; wait returns its exit code.
        script = f"cd {phone.root}; ./benchmark_model {command} >log 2>&1 & echo $! >{phone.root}/pid; wait $!"
        started = monotonic()
        try:
            code, _ = phone.shell(script, HANG)
        except StageError as error:
            if phone.gone or monotonic() - started < HANG:
                raise
            _, log = phone.shell(f"kill -9 $(cat {phone.root}/pid); cat {phone.root}/log")
            output = tool.last_lines(log)
            raise StageError(
                "run", f"{entry.id}: benchmark_model hung for {HANG:.0f} s and was ended: {output}"
            ) from error
        _, log = phone.shell(f"cat {phone.root}/log")
        if code:
            raise StageError("run", f"{entry.id}: benchmark_model ended with exit code {code}: {tool.last_lines(log)}")
        tool.check_flags(log)
        return log


class AndroidSession:
    """Run one entry of a pushed file. Each `invoke` pushes the inputs, runs the tool, and pulls the outputs."""

    def __init__(self, bench: Workbench, folder: Path, entry: Entry, how: Sequence[str]) -> None:
        """Push the file. `how` are the tool's flags for the kernels or the delegate."""
        self.bench, self.path, self.entry, self.how = bench, folder / entry.file, entry, how
        self.took = ""
        self.inputs, self.outputs = ([port_of(entry, name) for name in names] for names in graph_order(folder, entry))
        self.feeds: dict[str, Array] = {}
        self.made: dict[str, Array] = {}
        bench.phone.again(lambda: bench.model(self.path), bench.set_up)

    def bind(self, inputs: Tensors) -> None:
        self.feeds = {port.name: to_file(port, inputs[port.name]) for port in self.inputs}

    def invoke(self) -> float:
        started = monotonic()
        data = self.bench.phone.again(self.run, self.bench.set_up)
        self.made = split(self.outputs, data, self.entry.id)
        return monotonic() - started

    def run(self) -> bytes:
        phone = self.bench.phone
        inputs = []
        for index, port in enumerate(self.inputs):
            file = f"{phone.root}/in{index}.bin"
            phone.push(self.feeds[port.name].tobytes(), file)
            inputs.append((file, port.shape))
        output = f"{phone.root}/out.bin"
        # The outputs of the previous run must not pass for those of this one.
        phone.must(f"rm -f {output}")
        self.took = tool.read_delegate(
            self.bench.run(self.path, self.entry, tool.parity_flags(inputs, output, self.how))
        )
        return phone.pull(output)

    def fetch(self) -> dict[str, Array]:
        return {name: value.copy() for name, value in self.made.items()}

    def close(self) -> None:
        self.feeds, self.made = {}, {}


def port_of(entry: Entry, name: str) -> Port:
    """Return the port with this name in the file."""
    return next(port for port in (*entry.inputs, *entry.outputs) if port.file_name == name)


def split(ports: Sequence[Port], data: bytes, entry: str) -> dict[str, Array]:
    """Split the tool's output file, which holds the outputs in the graph's order. Names are the reference's."""
    sizes = [int(np.prod(port.shape)) * np.dtype(port.dtype).itemsize for port in ports]
    if len(data) != sum(sizes):
        raise StageError("run", f"{entry}: benchmark_model wrote {len(data)} bytes of outputs, not {sum(sizes)}")
    made, start = {}, 0
    for port, size in zip(ports, sizes, strict=True):
        value = np.frombuffer(data, port.dtype, offset=start, count=size // np.dtype(port.dtype).itemsize)
        made[port.name] = from_file(port, value.reshape(port.shape))
        start += size
    return made


class AndroidRuntime(Runtime):
    name = "litert-android"
    targets = ("litert",)
    # `python -m benchmarks device` times it: pushing and pulling are no part of an inference.
    timed = False
    configurations = tuple(tool.FLAGS)
    about = "LiteRT's benchmark_model on an attached Android device: the CPU kernels of XNNPACK, one thread, for parity"

    def unavailable(self) -> str | None:
        return no_tool() or no_phone()

    @property
    def evidence(self) -> Label:
        """The label of what the device reports about itself, or a phone's where none is attached."""
        with contextlib.suppress(StageError):
            if "bench" in vars(self) or self.unavailable() is None:
                return label(self.identity)
        return label(DeviceInfo())

    @cached_property
    def identity(self) -> DeviceInfo:
        return self.bench.about if "bench" in vars(self) else Phone().identity()

    @cached_property
    def bench(self) -> Workbench:
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        return Workbench()

    def version(self) -> dict[str, str]:
        given = os.environ.get(TOOL, "")
        return {"benchmark_model": sha256_bytes(Path(given).read_bytes())[:12]} if Path(given).is_file() else {}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> AndroidSession:
        return AndroidSession(self.bench, folder, entry, tool.FLAGS["cpu-1"])

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return load_runtime(READER).read_dtypes(folder, entry)

    def device(self) -> DeviceInfo:
        return replace(self.identity, tool_sha256=sha256_file(Path(os.environ[TOOL])))

    def condition(self) -> Condition:
        return self.bench.phone.condition()

    def measure(self, folder: Path, entry: Entry, configuration: str, seconds: float) -> Timings:
        flags = tool.latency_flags(configuration, seconds)
        bench = self.bench
        text = bench.phone.again(lambda: bench.run(folder / entry.file, entry, flags), bench.set_up)
        found = tool.read_timings(text)
        if configuration == "gpu" and not found.delegate:
            raise StageError("run", f"{entry.id}: the GPU delegate took no part of the graph: {tool.last_lines(text)}")
        return found

    def operators(self, folder: Path, entry: Entry) -> list[OpTime]:
        bench = self.bench
        run = lambda: bench.run(folder / entry.file, entry, tool.profile_flags())  # noqa: E731  tried once more
        return tool.read_profile(bench.phone.again(run, bench.set_up))

    def clean(self) -> list[str]:
        """Remove our folders from the device and return their names. A later use pushes again."""
        bench = vars(self).pop("bench", None)
        if bench is None:
            return []
        atexit.unregister(bench.clean)
        found: list[str] = bench.clean()
        return found


class GpuSession(AndroidSession):
    """Run an entry on the GPU delegate.

    Raises Absent where the device or its tool has no delegate that takes the graph: the CPU computes it then, which is
    no evidence of a GPU. `taken` records what the delegate took, by entry.
    """

    def __init__(self, bench: Workbench, folder: Path, entry: Entry, how: Sequence[str], taken: dict[str, str]) -> None:
        super().__init__(bench, folder, entry, how)
        self.taken = taken

    def run(self) -> bytes:
        try:
            made = super().run()
        except StageError as error:
            if tool.NO_GPU in error.message:
                raise Absent("run", error.message) from error
            raise
        if not self.took.startswith("GPU"):
            raise Absent("run", f"{self.entry.id}: the GPU delegate took no part of the graph")
        self.taken[self.entry.id] = self.took
        return made


class AndroidGpuRuntime(AndroidRuntime):
    """Judge the parity of the GPU's outputs. Its times are among the configurations of `AndroidRuntime`."""

    name = "litert-android-gpu"
    about = (
        "LiteRT's benchmark_model on an attached Android device, with its GPU delegate: in half precision, as "
        "apps use it, and for float32 files in full precision"
    )

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> GpuSession:
        how = tool.EXACT_GPU if read_artifact(folder).recipe == "float32" else tool.FLAGS["gpu"]
        return GpuSession(self.bench, folder, entry, how, self.taken)

    def environment(self, threads: int = 1) -> Environment:
        """Return what the delegate took of each entry that was run so far."""
        return Environment(delegate=dict(self.taken))


def graph_order(folder: Path, entry: Entry) -> tuple[list[str], list[str]]:
    """Return the file's names of (inputs, outputs) in the order of the graph, by which the tool matches tensors."""
    reader = load_runtime(READER)
    if not isinstance(reader, GraphOrder):
        raise StageError("open", f"{READER} does not tell the order of a graph's tensors")
    return reader.graph_order(folder, entry)
