"""Symptom: the conversion fails with "operands don't have broadcast-compatible shapes" where an elementwise op has one
operand expanded explicitly (`x.expand(...)`) and another that broadcasts implicitly.
Cause: litert-torch folds the expand into a broadcast_in_dim that the TFLite legalisation then cannot match.
Retired by: a litert-torch that converts `a.expand(1, 8, 4, 4) * b` with b of shape (1, 8, 1, 1) (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx


def apply(graph: fx.GraphModule) -> bool:
    """Take out expands that their readers, all elementwise, broadcast anyway; whether there was one."""
    import torch

    aten = torch.ops.aten
    elementwise = {
        getattr(getattr(aten, name), overload)
        for name in ("add", "sub", "mul", "div", "maximum", "minimum", "eq", "ge", "gt", "le", "lt", "ne")
        for overload in ("Tensor", "default")
        if overload in getattr(aten, name).overloads()
    }
    changed = False
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target is not aten.expand.default:
            continue
        source = node.args[0]
        for reader in list(node.users):
            others = [value for value in reader.args[:2] if value is not node]
            if reader.target not in elementwise or len(others) != 1 or not broadcasts(source, others[0], reader):
                continue
            reader.replace_input_with(node, source)
            changed = True
        if not node.users:
            graph.graph.erase_node(node)
    return changed


def broadcasts(source: fx.Node, other: object, reader: fx.Node) -> bool:
    """Whether `source` and `other` reach the shape of the reader's output without the expand."""
    import torch

    meta = getattr(other, "meta", None)
    shape = tuple(meta["val"].shape) if meta and "val" in meta else ()
    reached = torch.broadcast_shapes(tuple(source.meta["val"].shape), shape)
    return tuple(reached) == tuple(reader.meta["val"].shape)
