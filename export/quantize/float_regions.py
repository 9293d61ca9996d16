"""Float regions: the operators that stay in float under static integer recipes, by one rule for every target.

Three regions stay float:

- The leading region: the first operators of the net, as long as their weights fit into an allowance. They see the photo
  at full resolution through few weights, and everything after them inherits their error.
- The trailing region: the last weighted operator before each dense final output (a map, not class scores), and every
  operator after it. Eight bits of a dense map's own values are 256 depth planes, and every one of them shows.

The rule reads a `GraphView`; each target derives one from its own graph (ONNX nodes, LiteRT operators, ATen nodes).
What counts as a weighted operator, and which constants count as its weights, is a fact of the target's graph: the
target's view states it. Whether graphs share one allowance is the caller's choice: an ONNX file has an allowance of its
own, while the modules of a LiteRT file and of a Core ML package share one (`float_regions`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from export.program import Program
from hydramobile.spec import EntrySpec

# Share of the largest module's weights that the leading region may hold. The portrait's stem and first block hold
# .05 % of its weights, and quantizing them takes the worst matte IoU from .993 to .981.
LEADING_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class ViewNode:
    """An operator. Tensors are named uniquely within the view.

    `inputs` are the tensors that it reads and that an operator or the graph's caller provides, without constants.
    `weighted`: a convolution, matrix product or the like, which ends a trailing region. `weights`: elements of the
    constants that it multiplies its inputs with, which a leading region spends its allowance on.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weighted: bool = False
    weights: int = 0


@dataclass(frozen=True, slots=True)
class GraphView:
    """The operators of a graph in their order of execution, and the tensor of each input and output of its entry.

    An input that no operator reads may be absent.
    """

    nodes: Sequence[ViewNode]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def float_regions(program: Program, views: Mapping[str, GraphView]) -> dict[str, list[ViewNode]]:
    """Return the operators that stay float, by entry name; the leading regions share one allowance, in their order."""
    left = leading_allowance(program)
    regions: dict[str, list[ViewNode]] = {}
    for name, view in views.items():
        entry = program.spec.entries[name]
        leading, left = leading_region(view, raw_inputs(program, entry.inputs), left)
        regions[name] = [*leading, *trailing_region(view, dense_outputs(program, entry))]
    return regions


def float_region(program: Program, entry: EntrySpec, view: GraphView) -> list[ViewNode]:
    """Return the operators of one graph that stay float; its leading region has the whole allowance."""
    leading, _ = leading_region(view, raw_inputs(program, entry.inputs), leading_allowance(program))
    return [*leading, *trailing_region(view, dense_outputs(program, entry))]


def unbounded_region(view: GraphView, ranges: Collection[str], floats: Collection[str]) -> list[ViewNode]:
    """Return the operators that read or compute a tensor of `floats` that has no range."""
    return [
        node
        for node in view.nodes
        if any(name in floats and name not in ranges for name in (*node.inputs, *node.outputs))
    ]


def leading_region(view: GraphView, inputs: Iterable[str], allowance: int) -> tuple[list[ViewNode], int]:
    """Return the first operators that depend on `inputs` alone, and the rest of the allowance, in weights.

    The region ends at the first weighted operator that would exceed the allowance; the rest is then 0.
    """
    known = {view.inputs[name] for name in inputs if name in view.inputs}
    region: list[ViewNode] = []
    for node in view.nodes:
        if not node.inputs or not known.issuperset(node.inputs):
            continue
        if node.weighted and node.weights > allowance:
            return region, 0
        allowance -= node.weights if node.weighted else 0
        region.append(node)
        known.update(node.outputs)
    return region, allowance


def trailing_region(view: GraphView, outputs: Iterable[str]) -> list[ViewNode]:
    """Return the last weighted operator before each of `outputs`, and every operator after it."""
    producers = {name: node for node in view.nodes for name in node.outputs}
    region: dict[str, ViewNode] = {}
    for output in outputs:
        waiting, seen = [view.outputs[output]], set[str]()
        while waiting:
            node = producers.get(waiting.pop())
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            region[node.name] = node
            if not node.weighted:
                waiting.extend(node.inputs)
    return list(region.values())


def leading_allowance(program: Program) -> int:
    """Return how many weights the leading region may hold: a share of the weights of the largest module."""
    return int(LEADING_SHARE * sum(size * count for size, count in program.largest_module().items()))


def raw_inputs(program: Program, names: Iterable[str]) -> list[str]:
    """Return the `names` of tensors that the model's caller provides, not another module."""
    edges = program.spec.edges()
    return [name for name in names if name not in edges]


def dense_outputs(program: Program, entry: EntrySpec) -> list[str]:
    """Return the outputs of the entry that no module reads and that are maps: [N, C, H, W]."""
    final = set(program.final())
    return [name for name in entry.outputs if name in final and program.tensors[name].ndim == 4]
