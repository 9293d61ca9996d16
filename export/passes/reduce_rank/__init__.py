"""Tensors of more axes than a format holds, as tensors of fewer.

Nearly always the axes are more than an op needs: those of one batch and those that it treats alike can be one. So
each op works on a view of as few axes as it can do with, and of the views between two ops only the last is left.
What enters or leaves the program with more axes stays, for the target to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from export.passes.aten import op_name
from export.passes.base import PassResult
from export.passes.decompose.table import KEEP_OP, DecompositionTable
from export.passes.reduce_rank.axes import along, expanded, of_all, pointwise, reduced, repeated, turned
from export.passes.reduce_rank.ops import (
    any_pad,
    flipped,
    gathered,
    indexed,
    joined,
    layer_norm,
    linear,
    matmul,
    padded,
    rolled,
    stacked,
    std,
    var,
    vector_norm,
)

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

# Ops that give a tensor another shape and nothing else.
VIEWS = {"view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten"}
# Ops that change nothing.
SAME = {"clone", "contiguous", "detach", "alias"}
# Ops that every converter takes with any number of axes, as long as a view comes before and after.
MOVES = {"permute", "transpose", *SAME}
# Ops of one axis, called `dim`, which is kept, changed or taken away.
ALONG = {
    "_softmax", "softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "select", "slice", "narrow", "split",
    "split_with_sizes", "chunk", "unbind", "index_select", "topk", "sort", "argmax", "argmin", "glu",
}  # fmt: skip
# Ops that reduce axes one after another to the same as all at once.
REDUCE = {"sum", "mean", "amax", "amin", "any", "all", "prod", "max", "min"}
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
            high = [node for node in program.graph_module.graph.nodes if axes_of(node) > self.most]
            if all(op_name(node.target) in VIEWS | MOVES for node in high):
                break
            # The ops that a composite op decomposes into are handled in the next round.
            program, modified = program.run_decompositions(table(program, self.most)), True
            join_views(program, self.most)
        return PassResult(program, modified)


def axes_of(node: fx.Node) -> int:
    """The most axes of what a node reads and makes; 0 for what is no op of tensors."""
    from torch.utils import _pytree

    if node.op != "call_function":
        return 0
    values = [each.meta.get("val") for each in (node, *node.all_input_nodes)]
    return max((getattr(value, "ndim", 0) for value in _pytree.tree_leaves(values)), default=0)


def table(exported: ExportedProgram, most: int) -> DecompositionTable:
    """How to compute each op of the program with at most `most` axes, for those that there is a way for."""
    import torch

    ops = {
        node.target: op_name(node.target) for node in exported.graph_module.graph.nodes if node.op == "call_function"
    }
    by_name: dict[str, Callable[..., Any]] = {
        "cat": joined, "concat": joined, "stack": stacked, "flip": flipped, "roll": rolled, "repeat": repeated,
        "expand": expanded, "constant_pad_nd": padded, "pad": any_pad, "linear": linear, "matmul": matmul,
        "layer_norm": layer_norm, "gather": gathered, "index": indexed, "var": var, "std": std,
        "linalg_vector_norm": vector_norm, "permute": partial(turned, most), "transpose": partial(turned, most),
    }  # fmt: skip
    made: DecompositionTable = {}
    for op, name in ops.items():
        # A view of what is transposed is a copy, which must not ask for a view again.
        if not isinstance(op, torch._ops.OpOverload) or name in SAME:
            continue
        if name in by_name:
            how = by_name[name]
        elif name in ALONG:
            how = partial(along, op)
        elif name in REDUCE and op._overloadname != "other":  # a maximum of two tensors
            axes = any(argument.name == "dim" for argument in op._schema.arguments)
            how = partial(reduced if axes else of_all, op)
        elif torch.Tag.pointwise in op.tags or name in {"_to_copy", "to", "max", "min"}:
            how = partial(pointwise, op, most)
        else:
            continue
        made[op] = partial(if_high, how, most)
    return made


def if_high(how: Callable[..., Any], most: int, *args: Any, **kwargs: Any) -> Any:
    """What `how` makes of operands or a result of more axes; other calls are left as they are."""
    import torch
    from torch.utils import _pytree

    tensors = [value for value in _pytree.tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    axes = max(value.ndim for value in tensors)
    if how is stacked:
        axes += 1
    if how in (expanded, repeated):
        axes = max(axes, len(args[1]))
    if axes <= most:
        return KEEP_OP
    return how(*args, **kwargs)


def join_views(exported: ExportedProgram, most: int) -> None:
    """Views of views, where the one between has more than `most` axes, as one, in place."""
    import torch

    graph = exported.graph_module.graph
    for node in graph.nodes:
        if op_name(node.target) not in VIEWS or node.op != "call_function":
            continue
        origin = node.args[0]
        while (
            origin.op == "call_function" and op_name(origin.target) in VIEWS | SAME and origin.meta["val"].ndim > most
        ):
            origin = origin.args[0]
        if origin is not node.args[0]:
            node.target, node.kwargs = torch.ops.aten.reshape.default, {}
            node.args = (origin, list(node.meta["val"].shape))
    for node in reversed(graph.nodes):
        # Nothing reads it, and it is of no use to a file.
        if op_name(node.target) == "_assert_tensor_metadata" and axes_of(node) > most:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    exported.graph_module.recompile()
