"""The steps of a graph: the form between an archive's JSON and the module that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hydramobile.pt2.layers import Layer


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument that is an earlier result, a parameter or an input."""

    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """One call: `call` is an op or a Layer; `results` names its outputs, None for an unnamed one.

    `unpack`: the op returns a tuple or list with one element per name.
    """

    call: Callable[..., Any] | Layer
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: tuple[str | None, ...]
    unpack: bool


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input of the archive's graph; `sample` is its example where the archive has one that can be read."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    sample: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph as steps. `places` maps names of the graph to paths in the state, `outputs` are Refs to tensors.

    `mutated` lists (path of a buffer, result): the buffer's value after a run.
    """

    inputs: tuple[GraphInput, ...]
    steps: tuple[Step, ...]
    places: Mapping[str, str]
    outputs: tuple[Ref, ...]
    output_names: tuple[str, ...]
    mutated: tuple[tuple[str, Ref], ...]


def refs(value: Any) -> Iterator[str]:
    """Yield the names of all Refs in nested arguments."""
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, Mapping):
        yield from refs(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from refs(item)


def last_uses(graph: Graph) -> list[tuple[str, ...]]:
    """Return, for each step, the results that no later step reads."""
    kept = {*refs(graph.outputs), *refs([ref for _, ref in graph.mutated])}
    last: dict[str, int] = {}
    for index, step in enumerate(graph.steps):
        last |= dict.fromkeys((name for name in step.results if name), index)
        last |= dict.fromkeys(refs((step.args, step.kwargs)), index)
    dead: list[list[str]] = [[] for _ in graph.steps]
    for name, index in last.items():
        if name not in kept:
            dead[index].append(name)
    return [tuple(names) for names in dead]
