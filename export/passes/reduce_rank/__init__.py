"""Reduce the rank of tensors that have more axes than a format holds.

Most ops need fewer axes than their operands have: batch axes, and axes that the op treats alike, can be joined. So each
op is computed on a view of few axes. Of the views between two ops only the last is kept. Inputs and outputs of the
program keep their rank; the target refuses them where it is too high.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from export.passes.aten import op_name
from export.passes.base import PassResult
from export.passes.decompose.table import KEEP_OP, DecompositionTable
from export.passes.reduce_rank import axes, ops

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

# Ops that change the shape alone.
VIEWS = {"view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten"}
# Ops that return their input.
IDENTITY = {"clone", "contiguous", "detach", "alias"}
# Ops that every converter takes at any rank, as long as a view comes before and after.
MOVES = {"permute", "transpose", *IDENTITY}
# Ops along one axis, the argument `dim`, which they keep, resize or remove.
ALONG_DIM = {
    "_softmax", "softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "select", "slice", "narrow", "split",
    "split_with_sizes", "chunk", "unbind", "index_select", "topk", "sort", "argmax", "argmin", "glu",
}  # fmt: skip
# Reductions whose result is the same over all axes at once and over one axis after another.
REDUCTIONS = {"sum", "mean", "amax", "amin", "any", "all", "prod", "max", "min"}
ROUNDS = 3


class ReduceRank:
    """Compute ops on tensors of more than `most` axes by ops on tensors of at most `most` axes.

    Views and transposes keep their rank where nothing else exceeds it: converters take them in sequence.
    """

    def __init__(self, most: int) -> None:
        self.__name__ = f"reduce_rank_to_{most}"
        self.most = most

    def __call__(self, program: ExportedProgram) -> PassResult[ExportedProgram]:
        modified = False
        for _ in range(ROUNDS):
            high = [node for node in program.graph_module.graph.nodes if max_rank(node) > self.most]
            if all(op_name(node.target) in VIEWS | MOVES for node in high):
                break
            # The ops that a composite op decomposes into are handled in the next round.
            program, modified = program.run_decompositions(table(program, self.most)), True
            join_views(program, self.most)
        return PassResult(program, modified)


def max_rank(node: fx.Node) -> int:
    """Return the highest rank among a node's operands and outputs; 0 for a node that is not a call of an op."""
    from torch.utils import _pytree

    if node.op != "call_function":
        return 0
    values = [each.meta.get("val") for each in (node, *node.all_input_nodes)]
    return max((getattr(value, "ndim", 0) for value in _pytree.tree_leaves(values)), default=0)


def table(program: ExportedProgram, most: int) -> DecompositionTable:
    """Return a decomposition with at most `most` axes for each op of the program that has one."""
    import torch

    named = {
        node.target: op_name(node.target) for node in program.graph_module.graph.nodes if node.op == "call_function"
    }
    by_name: dict[str, Callable[..., Any]] = {
        "cat": ops.cat, "concat": ops.cat, "stack": ops.stack, "flip": ops.flip, "roll": ops.roll,
        "repeat": axes.repeat, "expand": axes.expand, "constant_pad_nd": ops.constant_pad, "pad": ops.pad,
        "linear": ops.linear, "matmul": ops.matmul, "layer_norm": ops.layer_norm, "gather": ops.gather,
        "index": ops.index_select, "var": ops.var, "std": ops.std, "linalg_vector_norm": ops.vector_norm,
        "permute": partial(axes.permute, most), "transpose": partial(axes.permute, most),
    }  # fmt: skip
    decompositions: DecompositionTable = {}
    for op, name in named.items():
        # A view of a transposed tensor decomposes into a copy, which must not be decomposed into views again.
        if not isinstance(op, torch._ops.OpOverload) or name in IDENTITY:
            continue
        if name in by_name:
            how = by_name[name]
        elif name in ALONG_DIM:
            how = partial(axes.along_one_axis, op)
        elif name in REDUCTIONS and op._overloadname != "other":  # a maximum of two tensors
            has_dim = any(argument.name == "dim" for argument in op._schema.arguments)
            how = partial(axes.reduce_axes if has_dim else axes.reduce_all, op)
        elif torch.Tag.pointwise in op.tags or name in {"_to_copy", "to", "max", "min"}:
            how = partial(axes.pointwise, op, most)
        else:
            continue
        decompositions[op] = partial(if_rank_exceeds, how, most)
    return decompositions


def if_rank_exceeds(decomposition: Callable[..., Any], most: int, *args: Any, **kwargs: Any) -> Any:
    """Apply `decomposition` to a call whose operands or output have more than `most` axes; keep other calls."""
    import torch
    from torch.utils import _pytree

    tensors = [value for value in _pytree.tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    rank = max(value.ndim for value in tensors)
    if decomposition is ops.stack:
        rank += 1
    if decomposition in (axes.expand, axes.repeat):
        rank = max(rank, len(args[1]))
    return KEEP_OP if rank <= most else decomposition(*args, **kwargs)


def is_high_view(node: fx.Node, most: int) -> bool:
    """Return whether `node` is a view or identity with more than `most` axes."""
    view = node.op == "call_function" and op_name(node.target) in VIEWS | IDENTITY
    return view and node.meta["val"].ndim > most


def join_views(program: ExportedProgram, most: int) -> None:
    """Replace a view of a view by one view, in place, where the inner one has more than `most` axes."""
    import torch

    graph = program.graph_module.graph
    for node in graph.nodes:
        if op_name(node.target) not in VIEWS or node.op != "call_function":
            continue
        origin = node.args[0]
        while is_high_view(origin, most):
            origin = origin.args[0]
        if origin is not node.args[0]:
            node.target, node.kwargs = torch.ops.aten.reshape.default, {}
            node.args = (origin, list(node.meta["val"].shape))
    for node in reversed(graph.nodes):
        # It has no user and has no meaning in a file.
        if op_name(node.target) == "_assert_tensor_metadata" and max_rank(node) > most:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
