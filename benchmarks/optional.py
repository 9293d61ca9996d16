"""Optional abilities of runtimes: one protocol per ability that not every `Runtime` has.

Commands test for them with isinstance. If a runtime lacks the protocol, the command reports this as the reason of an
unavailable row; it never skips the runtime silently.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from benchmarks.evidence.cost import ModuleCost
from benchmarks.evidence.device import Condition, DeviceInfo, Timings
from benchmarks.evidence.profile import OpTime
from benchmarks.evidence.size import Delegated
from benchmarks.graph import Graph
from benchmarks.runtime import Array, Runtime, Session, Tensors
from hydramobile.artifact import Entry
from hydramobile.spec import EntrySpec, ModelSpec


@runtime_checkable
class Sampling(Protocol):
    """A session that repeats runs remotely, such as in a browser, without a round trip per run."""

    def sample(self, seconds: float, least: int) -> list[float]:
        """Run for about `seconds`, at least `least` times, and return the seconds of each run."""
        ...


@runtime_checkable
class Tracer(Protocol):
    """A runtime that can return every intermediate tensor. `trace_kernels` names the kernels that compute them."""

    trace_kernels: str

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Run once on `inputs` (reference names and layout) and return the file's tensors, in execution order."""
        ...


@runtime_checkable
class Profiler(Protocol):
    """A runtime that has a profiler."""

    def no_profile(self) -> str | None:
        """Return why the runtime cannot profile here, None if it can."""
        ...

    def profile(self, folder: Path, entry: Entry, inputs: Tensors, runs: int) -> list[OpTime]:
        """Return the mean time of each operator over `runs` runs on one thread after a warm-up, in execution order."""
        ...


@runtime_checkable
class GraphReader(Protocol):
    """A runtime that reads the graph of the files it runs."""

    def graph(self, folder: Path, entry: Entry) -> Graph:
        """Read a graph. Raises StageError("read") or ("open") for a file or a tensor size that cannot be read."""
        ...


@runtime_checkable
class Delegating(Protocol):
    """A runtime that hands a part of a graph to a delegate."""

    def delegation(self, folder: Path, entry: Entry) -> Delegated:
        """Return the part of the entry's graph that the delegate takes, by the file and the loaded interpreter."""
        ...


@runtime_checkable
class GraphOrder(Protocol):
    """A runtime that knows in which order a file's graph lists the tensors of a signature."""

    def graph_order(self, folder: Path, entry: Entry) -> tuple[list[str], list[str]]:
        """Return the file's names of (inputs, outputs), in the graph's order."""
        ...


class CountingSession(Session, Protocol):
    def count(self, runs: int) -> dict[str, int]:
        """Run `runs` times and return the number of instructions by class, "total" included."""
        ...


class CountingRuntime(Protocol):
    def open(self, folder: Path, entry: Entry, threads: int = 1) -> CountingSession: ...


@runtime_checkable
class Counting(Protocol):
    """A runtime that can count the instructions of its sessions."""

    def counter(self) -> CountingRuntime:
        """Return the same runtime with the instruction counter loaded; it runs slower."""
        ...


@runtime_checkable
class Reference(Protocol):
    """The runtime of the PyTorch reference, which runs no artifact."""

    def open_reference(self, spec: ModelSpec, entry: EntrySpec, threads: int = 1) -> Session:
        """Load the reference's modules of one entry."""
        ...

    def module_costs(self, spec: ModelSpec) -> list[ModuleCost]:
        """Return the static cost of each module of the reference at the model's default size."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """A runtime on an attached device; `configurations` are its processor settings, such as "cpu-4" or "gpu"."""

    configurations: tuple[str, ...]

    def device(self) -> DeviceInfo:
        """Return the device's description, without a serial number or a person's name."""
        ...

    def condition(self) -> Condition:
        """Return the thermal state of the device."""
        ...

    def measure(self, folder: Path, entry: Entry, configuration: str, seconds: float) -> Timings:
        """Time one entry. Raises StageError if this configuration cannot run it."""
        ...

    def operators(self, folder: Path, entry: Entry) -> list[OpTime]:
        """Return the time or the placement of each operator, from a separate run whose outputs are discarded."""
        ...

    def clean(self) -> list[str]:
        """Remove this project's folders from the device, and return the folders that earlier runs had left."""
        ...


@runtime_checkable
class Comparator(Protocol):
    """A runtime that can compare the processors of a device with each other."""

    def disagreements(self, folder: Path, entry: Entry, inputs: Tensors) -> list[str]:
        """Return the operators whose result first diverges from the CPU's when any processor may compute them."""
        ...


class DeviceRuntime(Runtime, OnDevice, Protocol):
    """A runtime of an attached device."""
