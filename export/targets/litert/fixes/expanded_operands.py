"""Symptom: `torch.minimum(a.expand(-1, -1, H, -1), b)`, where b is broadcast along another axis, between convolutions:
"BROADCAST_TO: Output shape must be broadcastable from input shape" when the file is opened, or, where sizes of
different axes happen to be equal, silently wrong values. The same for maximum, comparisons, powers, atan2.
Cause: the pass that keeps convolutions channels-last leaves aten.expand channels-first between two transposes; these
fold into a broadcast of permuted axes, and a later pass moves broadcasts behind elementwise operators without looking
at the permutation: the operands then meet in different layouts.
Retired by: a litert-torch (or its litert-converter) that keeps the axes of such broadcasts (seen in 0.10.0 with 0.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx


def apply(graph: fx.GraphModule) -> bool:
    """Move expansions behind the elementwise operators that read them, in place; whether there was one.

    Such operators broadcast by themselves, so they read what was expanded, and what they make is expanded where it is
    smaller than before. Nothing else is computed, and less of it.
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
    return changed


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
