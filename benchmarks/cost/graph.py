"""A saved graph as its file has it: operators in execution order, what they multiply, what memory they need.

Read without running anything. An adapter that knows a format offers `graph(folder, entry) -> Graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol, runtime_checkable

from hydramobile.artifact import Entry


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that the graph computes or is given; `bits` an element, as the file types it."""

    shape: tuple[int, ...]
    bits: int

    @property
    def bytes(self) -> int:
        return (prod(self.shape) * self.bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Step:
    """One operator. `reads` and `writes` name tensors, constants included; `macs` are multiply-accumulates."""

    kind: str
    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    macs: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """`values` holds every tensor that is no constant of the file, by name."""

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Peak:
    """The most bytes of activations alive at once, and the operator that is running then."""

    bytes: int
    step: str
    kind: str


@runtime_checkable
class GraphReader(Protocol):
    """A runtime that reads the graph of the files it runs."""

    def graph(self, folder: Path, entry: Entry) -> Graph:
        """Raises StageError("read") or ("open") for a file that cannot be read, or a tensor of unknown size."""
        ...


def computed(graph: Graph) -> frozenset[str]:
    """The tensors that depend on an input. The others (decoded weights) are made once, when a file is loaded."""
    found = set(graph.inputs)
    for step in graph.steps:
        if found.intersection(step.reads):
            found.update(step.writes)
    return frozenset(found)


def peak_activations(graph: Graph) -> Peak:
    """Walk the operators in file order: a tensor lives from the operator that makes it to the last that reads it;
    inputs from the start, outputs to the end.

    An operator's inputs and outputs live together. A runtime that fuses operators or works in place can need less,
    one that pads its buffers or keeps unpacked weights needs more.
    """
    alive_names = computed(graph)
    last = {name: len(graph.steps) for name in graph.outputs}
    for index, step in enumerate(graph.steps):
        for name in (*step.reads, *step.writes):
            if name not in graph.outputs:
                last[name] = index
    alive = {name: graph.values[name].bytes for name in graph.inputs}
    peak = Peak(sum(alive.values()), "", "inputs")
    for index, step in enumerate(graph.steps):
        alive |= {name: graph.values[name].bytes for name in step.writes if name in alive_names}
        total = sum(alive.values())
        if total > peak.bytes:
            peak = Peak(total, step.name, step.kind)
        for name in [name for name in alive if last.get(name, index) <= index]:
            del alive[name]
    return peak


def conv_macs(output: Iterable[int], per_output: int) -> int:
    """Multiply-accumulates of a convolution or a product: `per_output` for each element of `output`."""
    return prod(output) * per_output
