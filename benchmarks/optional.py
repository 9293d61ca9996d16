"""What a runtime may offer beside `Runtime`: one protocol per question that not every runtime can answer.

A command asks with isinstance. A runtime that lacks the protocol is reported with that reason, never left out
without a word.
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
    """A session that repeats runs by itself, because it runs far from this process, such as in a browser."""

    def sample(self, seconds: float, least: int) -> list[float]:
        """Return the seconds of each run, one after the other for about `seconds`, at least `least` of them."""
        ...


@runtime_checkable
class Tracer(Protocol):
    """A runtime that can show every tensor it computes. `trace_kernels` says what computes them."""

    trace_kernels: str

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Return the file's tensors by name, in execution order, for one run on `inputs` (reference names, layout)."""
        ...


@runtime_checkable
class Profiler(Protocol):
    """A runtime with a profiler of its own."""

    def no_profile(self) -> str | None:
        """Return why it cannot profile here, or None."""
        ...

    def profile(self, folder: Path, entry: Entry, inputs: Tensors, runs: int) -> list[OpTime]:
        """Return the mean of `runs` runs after a warm-up, in execution order; one thread."""
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
        """Return how much of the entry's graph the delegate takes, from the file and the loaded interpreter."""
        ...


@runtime_checkable
class GraphOrder(Protocol):
    """A runtime that knows in which order a file's graph lists the tensors of a signature."""

    def graph_order(self, folder: Path, entry: Entry) -> tuple[list[str], list[str]]:
        """Return the file's names of (inputs, outputs), in the graph's order."""
        ...


class CountingSession(Session, Protocol):
    def count(self, runs: int) -> dict[str, int]:
        """Return the instructions of `runs` runs by class, "total" included."""
        ...


class CountingRuntime(Protocol):
    def open(self, folder: Path, entry: Entry, threads: int = 1) -> CountingSession: ...


@runtime_checkable
class Counting(Protocol):
    """A runtime that can count the instructions of its sessions."""

    def counter(self) -> CountingRuntime:
        """Return the same runtime with the instruction counter loaded, which makes everything slower."""
        ...


@runtime_checkable
class Reference(Protocol):
    """The runtime of the reference itself, which runs no artifact."""

    def open_reference(self, spec: ModelSpec, entry: EntrySpec, threads: int = 1) -> Session:
        """Load the reference's modules of one entry."""
        ...

    def module_costs(self, spec: ModelSpec) -> list[ModuleCost]:
        """Count each module of the reference at the model's default size."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """A runtime that reaches an attached device. `configurations` names ways to run there, such as "cpu-4" or "gpu"."""

    configurations: tuple[str, ...]

    def device(self) -> DeviceInfo:
        """Return what the device says it is. It names no person and no serial number."""
        ...

    def condition(self) -> Condition:
        """Return how warm the device is."""
        ...

    def measure(self, folder: Path, entry: Entry, configuration: str, seconds: float) -> Timings:
        """Time one entry. Raises StageError where this configuration cannot run it."""
        ...

    def operators(self, folder: Path, entry: Entry) -> list[OpTime]:
        """Return time, or placement, by operator, from a run whose other results are thrown away."""
        ...

    def clean(self) -> list[str]:
        """Remove from the device what this project put there, and return what was there."""
        ...


@runtime_checkable
class Comparator(Protocol):
    """A runtime that can compare a device's processors with each other."""

    def disagreements(self, folder: Path, entry: Entry, inputs: Tensors) -> list[str]:
        """Return the operators whose result first leaves the CPU's when any processor may compute them."""
        ...


class DeviceRuntime(Runtime, OnDevice, Protocol):
    """A runtime of an attached device."""
