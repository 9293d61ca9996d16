"""A saved graph, read from its file without running it: operators in execution order, MACs, activation memory.

An adapter that can parse a format offers `graph(folder, entry) -> Graph` (`GraphReader` in benchmarks/optional.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from benchmarks.evidence.cost import Peak


@dataclass(frozen=True, slots=True)
class Value:
    """An input or a computed tensor of the graph; `bits` is the size of an element, by its dtype in the file."""

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
    """A graph. `values` holds every tensor that is not a constant of the file, by name."""

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Mapping[str, Value]

    def written(self, step: Step) -> list[Value]:
        """Return the outputs of a step that are not constants."""
        return [self.values[name] for name in step.writes if name in self.values]


def computed(graph: Graph) -> frozenset[str]:
    """Return the tensors that depend on an input; the others (decoded weights) are computed once, at load time."""
    names = set(graph.inputs)
    for step in graph.steps:
        if names.intersection(step.reads):
            names.update(step.writes)
    return frozenset(names)


def peak_activations(graph: Graph) -> Peak:
    """Return the greatest number of bytes of live activations when the operators run in file order.

    A tensor is live from the operator that computes it to its last user. Inputs are live from the start, outputs to
    the end, and the inputs and outputs of one operator at the same time. A runtime that fuses operators or works in
    place needs less memory; one that pads its buffers or keeps unpacked weights needs more.
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
    """Return the MACs of a convolution or matrix product: `per_output` for each element of the shape `output`."""
    return prod(output) * per_output
