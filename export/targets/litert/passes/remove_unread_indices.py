"""Symptom: "Didn't find op for builtin opcode 'STABLEHLO_SORT'" when a file with a top-k is opened, whose values alone
are read.
Cause: the converter turns a top-k whose places nobody reads into a sort, which no runtime has.
Instead: a zero that is computed from the places is added to the values.
Retired by: a converter that writes TOPK_V2 for both (seen in litert-converter 0.5.0).
"""

from __future__ import annotations

from operator import getitem
from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def remove_unread_indices(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Read the places of every top-k, in place; whether there was one that was not read."""
    import torch

    aten, call = torch.ops.aten, graph.graph.call_function
    changed = False
    for node in list(graph.graph.nodes):
        if node.target is not aten.topk.default:
            continue
        read = {user.args[1]: user for user in node.users if user.users}
        if set(read) != {0}:
            continue
        values, facts = read[0], [value.new_empty(value.shape) for value in node.meta["val"]]
        with graph.graph.inserting_after(values):
            made = call(aten.add.Tensor, (values,))
        with graph.graph.inserting_before(made):
            places = call(getitem, (node, 1))
            none = call(aten.lt.Scalar, (places, 0))
            zero = call(aten.to.dtype, (none, facts[0].dtype))
        for each, value in ((made, facts[0]), (places, facts[1]), (none, facts[1].bool()), (zero, facts[0])):
            each.meta = {**values.meta, "val": value}
        values.replace_all_uses_with(made, delete_user_cb=lambda user, made=made: user is not made)
        made.args = (values, zero)
        changed = True
    return PassResult(graph, changed)
