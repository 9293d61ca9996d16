"""Move `aten.expand` behind the elementwise ops that read it, which broadcast by themselves.

Before: minimum(expand(a [1, c, 1, 1], [1, c, h, 1]), b [1, 1, 1, w])
After:  minimum(a, b)

The result is expanded where it is smaller than before. The same is computed, from fewer elements.

Symptom: without the pass, decompose_expand copies the operand of every such op.
Cause: litert-torch gets `aten.expand` wrong (decompose_expand.py), so no expand may stay.
Retired by: the same as decompose_expand.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def sink_expand(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Let elementwise ops read the input of `aten.expand`, `expand_as` and `broadcast_to`, and expand their outputs."""
    targets = expand_ops()
    modified = False
    for node in list(graph.graph.nodes):
        if not is_elementwise(node):
            continue
        expanded = [source for source in node.all_input_nodes if source.target in targets]
        for source in expanded:
            node.replace_input_with(source, source.args[0])
        if expanded:
            expand_output(graph, node)
            modified = True
    return PassResult(graph, modified)


def expand_ops() -> set[Any]:
    """Return the ops that repeat axes of size 1."""
    import torch

    aten = torch.ops.aten
    return {aten.expand.default, aten.expand_as.default, aten.broadcast_to.default}


def is_elementwise(node: fx.Node) -> bool:
    """Return whether the op broadcasts its operands, computes element by element, and mutates none of them."""
    import torch

    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    return torch.Tag.pointwise in node.target.tags and not node.target._schema.is_mutable


def expand_output(graph: fx.GraphModule, node: fx.Node) -> None:
    """Expand the output of a node whose inputs became smaller to the shape that its users read before."""
    import torch

    value = node.meta["val"]
    shape = torch.broadcast_shapes(*(source.meta["val"].shape for source in node.all_input_nodes))
    if shape == value.shape:
        return
    users = list(node.users)
    with graph.graph.inserting_after(node):
        expanded = graph.graph.call_function(torch.ops.aten.expand.default, (node, list(value.shape)))
    expanded.meta = {**node.meta}
    node.meta = {**node.meta, "val": value.new_empty(shape)}
    for user in users:
        user.replace_input_with(node, expanded)
