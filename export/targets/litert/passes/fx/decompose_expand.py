"""Decompose `aten.expand` and `aten.repeat` into concatenations and gathers.

Before: expand(x [1, c, 1, 1], [1, c, 2, 32])
After:  index_select(cat([x, x], 2), 3, indices), with indices = [0] * 32

Symptom: between convolutions, `torch.minimum(a.expand(-1, -1, H, -1), b)` with b broadcast along another axis fails
when the file is opened, with "BROADCAST_TO: Output shape must be broadcastable from input shape". Where sizes of
different axes happen to be equal, it gives wrong values without an error. The same holds for maximum, comparisons,
powers and atan2, and for an `a.expand(...)` that is permuted, or read by an op that broadcasts nothing (the relative
positions of BoTNet and HaloNet).
Cause: the litert-torch pass that keeps convolutions channels-last leaves `aten.expand` channels-first between two
transposes. These fold into a broadcast of permuted axes, and a later pass moves broadcasts behind elementwise operators
without looking at the permutation: the operands then meet in different layouts. The first pass permutes no axes of
`aten.repeat` either. A product with ones would become a broadcast again.
Retired by: a litert-torch or litert-converter that keeps the axes of such broadcasts (seen in 0.10.0 with 0.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.aten import constant
from export.passes.base import PassResult
from export.targets.litert.passes.fx.sink_expand import expand_ops

if TYPE_CHECKING:
    from torch import fx

# The most copies to concatenate. A concatenation keeps the channels-last layout of convolutions; a gather may not.
MAX_CONCATENATED = 16


def decompose_expand(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Decompose `aten.expand`, `expand_as`, `broadcast_to`, `repeat` and `tile`. Expansions to the same shape stay."""
    import torch

    targets = {*expand_ops(), torch.ops.aten.repeat.default, torch.ops.aten.tile.default}
    modified = False
    for node in list(graph.graph.nodes):
        if node.target in targets and node.users:
            modified |= decompose(graph, node)
    return PassResult(graph, modified)


def decompose(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Repeat the node's input axis by axis. Return whether any axis had to be repeated."""
    import torch

    source: Any = node.args[0]
    before, after = source.meta["val"].shape, node.meta["val"].shape
    shape = (*(1,) * (len(after) - len(before)), *before)
    # An axis of size 0 (no register tokens) is expanded to size 0.
    counts = [size // old if old else 1 for size, old in zip(after, shape, strict=True)]
    if all(count == 1 for count in counts):
        return False
    aten, call = torch.ops.aten, graph.graph.call_function
    with graph.graph.inserting_before(node):
        if len(after) > len(before):
            source = call(aten.reshape.default, (source, list(shape)))
        for axis, count in enumerate(counts):
            if count > MAX_CONCATENATED:
                indices = torch.arange(shape[axis]).repeat(count)
                source = call(aten.index_select.default, (source, axis, constant(graph, indices)))
            elif count > 1:
                source = call(aten.cat.default, ([source] * count, axis))
    source.meta = {**node.meta}
    node.replace_all_uses_with(source)
    graph.graph.erase_node(node)
    return True
