"""Fold float64 constants: evaluate float64 expressions of constants at export.

Before: to(sin(outer(arange(n, dtype=float64), rates)), float32)
After:  get_attr(constant), float32

Symptom: "failed to legalize operation 'tfl.pow'" (or `tfl.exp`, `tfl.sin`) of f64 tensors, though no input is float64:
position embeddings are often computed in float64 and cast.
Cause: litert-torch keeps operators on constants, and TFLite has no float64 kernels.
Retired by: a litert-torch that folds constants before it lowers them (seen in 0.10.0).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from export.passes.aten import constant, is_mutable
from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def fold_float64_constants(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Fold every node that computes another dtype from constant float64 tensors.

    A graph that writes into a constant stays as it is: the constant's value differs before and after the write.
    """
    import torch.fx

    nodes = graph.graph.nodes
    if not any(is_float64(node.meta.get("val")) for node in nodes):
        return PassResult(graph, False)
    values: dict[fx.Node, Any] = {}
    for node in nodes:
        if is_mutable(node.target) and node.args[0] in values:
            return PassResult(graph, False)
        if node.op == "get_attr":
            values[node] = functools.reduce(getattr, str(node.target).split("."), graph)
        elif node.op == "call_function" and not is_random(node) and all(x in values for x in node.all_input_nodes):
            positional, named = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                values[node] = node.target(*positional, **named)
    folded = [node for node in values if any(is_float64(values[source]) for source in node.all_input_nodes)]
    folded = [node for node in folded if not is_float64(values[node])]
    for node in folded:
        # A node without a tensor is an assertion about one, which held.
        if isinstance(values[node], torch.Tensor):
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(constant(graph, values[node].contiguous()))
        if not node.users:
            graph.graph.erase_node(node)
    return PassResult(graph, bool(folded))


def is_random(node: fx.Node) -> bool:
    """Return whether the op draws random numbers."""
    import torch

    # A target that is a Python function, such as operator.getitem, has no tags.
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def is_float64(value: Any) -> bool:
    """Return whether `value` is a float64 tensor."""
    import torch

    return isinstance(value, torch.Tensor) and value.dtype == torch.float64
