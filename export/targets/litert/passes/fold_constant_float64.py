"""Symptom: "failed to legalize operation 'tfl.pow'" (or `tfl.exp`, `tfl.sin`) of f64 tensors, though no input is one:
position embeddings are often made in float64 and cast.
Cause: litert-torch keeps what a net computes from constants alone as operators, and TFLite has none of float64.
Retired by: a litert-torch that folds constants before it lowers them (seen in 0.10.0).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from export.passes.aten import constant, is_mutable
from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def fold_constant_float64(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Compute what float64 makes of constants now, in place; whether there was any."""
    import torch.fx

    nodes = graph.graph.nodes
    if not any(is_double(node.meta.get("val")) for node in nodes):
        return PassResult(graph, False)
    known: dict[fx.Node, Any] = {}
    for node in nodes:
        if is_mutable(node.target) and node.args[0] in known:
            # What was computed before is not what it is after: left to the converter.
            return PassResult(graph, False)
        if node.op == "get_attr":
            known[node] = functools.reduce(getattr, str(node.target).split("."), graph)
        elif node.op == "call_function" and not random(node) and all(each in known for each in node.all_input_nodes):
            positional, named = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
            with torch.no_grad():
                known[node] = node.target(*positional, **named)
    made = [node for node in known if any(is_double(known[source]) for source in node.all_input_nodes)]
    made = [node for node in made if not is_double(known[node])]
    for node in made:
        if isinstance(known[node], torch.Tensor):
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(constant(graph, known[node].contiguous()))
        # What is no tensor is a check of one, which held.
        if not node.users:
            graph.graph.erase_node(node)
    return PassResult(graph, bool(made))


def random(node: fx.Node) -> bool:
    import torch

    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def is_double(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.dtype == torch.float64
