"""Symptom: `torch.minimum(a.expand(-1, -1, H, -1), b)`, where b is broadcast along another axis, between convolutions:
"BROADCAST_TO: Output shape must be broadcastable from input shape" when the file is opened, or, where sizes of
different axes happen to be equal, silently wrong values. The same for maximum, comparisons, powers, atan2, and for
`a.expand(...)` that is permuted or read by what broadcasts nothing (the relative positions of BoTNet and HaloNet).
Cause: the pass that keeps convolutions channels-last leaves aten.expand channels-first between two transposes; these
fold into a broadcast of permuted axes, and a later pass moves broadcasts behind elementwise operators without looking
at the permutation: the operands then meet in different layouts. The first pass turns no axes of aten.repeat.
Retired by: a litert-torch (or its litert-converter) that keeps the axes of such broadcasts (seen in 0.10.0 with 0.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.aten import constant
from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


# Copies that are put beside each other at most: a concatenation keeps the layout that convolutions want.
FEW = 16


def replace_expanded_operands(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Move expansions behind the elementwise operators that read them, in place; whether there was one.

    Such operators broadcast by themselves, so they read what was expanded, and what they make is expanded where it is
    smaller than before. Nothing else is computed, and less of it. What is left, and repetitions, is spelled out.
    """
    import torch

    aten = torch.ops.aten
    expansions = {aten.expand.default, aten.expand_as.default, aten.broadcast_to.default}
    changed = False
    for node in list(graph.graph.nodes):
        if not broadcasts(node):
            continue
        found = [source for source in node.all_input_nodes if source.target in expansions]
        for expanded in found:
            node.replace_input_with(expanded, expanded.args[0])
        if found:
            expand_later(graph, node)
            changed = True
    for node in list(graph.graph.nodes):
        if node.target in {*expansions, aten.repeat.default, aten.tile.default} and node.users:
            changed |= repeated(graph, node)
    return PassResult(graph, changed)


def repeated(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Write an expansion or a repetition in place as gathers and concatenations; whether there was one.

    Products with ones would become broadcasts again.
    """
    import torch

    source = node.args[0]
    before = source.meta["val"].shape  # type: ignore[union-attr]  # the node that is expanded
    made = node.meta["val"].shape
    shape = (*(1,) * (len(made) - len(before)), *before)
    # An axis of nothing (no register tokens) is expanded to nothing.
    times = [size // old if old else 1 for size, old in zip(made, shape, strict=True)]
    if all(count == 1 for count in times):
        return False
    aten, call = torch.ops.aten, graph.graph.call_function
    with graph.graph.inserting_before(node):
        if len(made) > len(before):
            source = call(aten.reshape.default, (source, list(shape)))
        for axis, count in enumerate(times):
            if count > FEW:
                places = torch.arange(shape[axis]).repeat(count)
                source = call(aten.index_select.default, (source, axis, constant(graph, places)))
            elif count > 1:
                source = call(aten.cat.default, ([source] * count, axis))
    source.meta = {**node.meta}  # type: ignore[union-attr]  # a node by now
    node.replace_all_uses_with(source)  # type: ignore[arg-type]  # the same
    graph.graph.erase_node(node)
    return True


def broadcasts(node: fx.Node) -> bool:
    """Whether it computes a value a place from operands broadcast to one another, and writes into no tensor."""
    import torch

    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    return torch.Tag.pointwise in node.target.tags and not node.target._schema.is_mutable


def expand_later(graph: fx.GraphModule, node: fx.Node) -> None:
    """Give the users of a node whose inputs became smaller the shape that they had."""
    import torch

    value = node.meta["val"]
    made = torch.broadcast_shapes(*(source.meta["val"].shape for source in node.all_input_nodes))
    if made == value.shape:
        return
    users = list(node.users)
    with graph.graph.inserting_after(node):
        later = graph.graph.call_function(torch.ops.aten.expand.default, (node, list(value.shape)))
    later.meta = {**node.meta}
    node.meta = {**node.meta, "val": value.new_empty(made)}
    for user in users:
        user.replace_input_with(node, later)
