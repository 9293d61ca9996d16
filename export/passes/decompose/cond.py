"""Decompose `torch.cond` into a selection: both branches are computed, and `aten.where` takes one.

Before: a, b = cond(p, true_graph, false_graph, (x, w))
After:  a = where(p, true_a, false_a);  b = where(p, true_b, false_b)

Symptom: no converter takes the graph ("Unsupported fx node cond"), or only for ONNX, as an `If` of two subgraphs.
Cause: the formats have no branches that all runtimes run. A branch of `torch.cond` has no side effects, so that both
can be computed. The cost is that of both branches.
Retired by: branches in all four formats (tests/export/test_cond.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult
from export.passes.user_code import node_place
from hydramobile.errors import StageError

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

STAGE = "capture"


def decompose_cond(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace every `torch.cond`, nested ones included. Raises StageError("capture") for any other control flow."""
    import torch

    module, modified = program.graph_module, False
    while nodes := [node for node in module.graph.nodes if node.target is torch.ops.higher_order.cond]:
        for node in nodes:
            select(module, node)
        modified = True
    for node in module.graph.nodes:
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            raise StageError(
                STAGE,
                f"{node_place(node)}, uses {node.target.name()!r}, which no file can hold (supported: torch.cond, as a "
                "selection); write loops out in Python",
            )
    if modified:
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
    return PassResult(program, modified)


def select(module: fx.GraphModule, node: fx.Node) -> None:
    """Replace one cond by the nodes of both branches, and one `aten.where` per output."""
    import torch

    condition, on_true, on_false, operands = node.args
    graph, branches = module.graph, (on_true, on_false)
    with graph.inserting_before(node):
        truths, falses = (inline(module, branch, operands) for branch in branches if isinstance(branch, torch.fx.Node))
        if isinstance(condition, torch.fx.Node) and condition.meta["val"].ndim:
            # A condition of shape [1] would give a scalar an axis.
            scalar = graph.call_function(torch.ops.aten.select.int, (condition, 0, 0))
            scalar.meta = {**condition.meta, "val": condition.meta["val"][0]}
            condition = scalar
        selected = [choose(graph, condition, a, b) for a, b in zip(truths, falses, strict=True)]
    for user in list(node.users):
        index = user.args[1]
        assert isinstance(index, int)
        user.replace_all_uses_with(selected[index])
        graph.erase_node(user)
    graph.erase_node(node)


def choose(graph: fx.Graph, condition: Any, on_true: Any, on_false: Any) -> Any:
    """Return the node that selects between two outputs of the branches; the output itself where both are the same."""
    import torch

    if on_true is on_false or not isinstance(on_true, torch.fx.Node):
        return on_true
    where = graph.call_function(torch.ops.aten.where.self, (condition, on_true, on_false))
    where.meta = {**on_true.meta}
    return where


def inline(module: fx.GraphModule, branch: fx.Node, operands: Any) -> list[Any]:
    """Copy the nodes of a branch into the graph, and return its outputs. The insertion point must be set."""
    import torch

    body = module.get_submodule(str(branch.target))
    assert isinstance(body, torch.fx.GraphModule)
    known: dict[fx.Node, Any] = {}
    arguments = iter(operands)
    for node in body.graph.nodes:
        if node.op == "placeholder":
            known[node] = next(arguments)
        elif node.op == "output":
            return list(torch.fx.map_arg(node.args[0], lambda source: known[source]))
        else:
            copy = module.graph.node_copy(node, lambda source: known[source])
            if copy.op == "get_attr":
                copy.target = adopt(module, body, str(node.target))
            known[node] = copy
    return []


def adopt(module: fx.GraphModule, body: fx.GraphModule, name: str) -> str:
    """Register an attribute of a branch, a nested branch or a constant, with `module`, and return its new name."""
    count = 0
    while hasattr(module, unique := f"{name.replace('.', '_')}_cond_{count}"):
        count += 1
    setattr(module, unique, getattr(body, name))
    return unique
