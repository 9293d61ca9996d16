"""Give the indices of `aten.topk` a user where only its values have one.

Before: values, _ = topk(x)
After:  values, indices = topk(x); values = values + to(indices < 0, values.dtype)

Symptom: "Didn't find op for builtin opcode 'STABLEHLO_SORT'" when the file is opened.
Cause: litert-converter turns a top-k whose indices have no user into a sort, which no runtime has. The sum adds zero,
because indices are never negative.
Retired by: a litert-converter that writes TOPK_V2 for both (seen in 0.5.0;
https://github.com/google-ai-edge/litert-torch/issues/555 asks for top-k and sort).
"""

from __future__ import annotations

from operator import getitem
from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def keep_topk_indices(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Add a zero that is computed from the indices to the values of every `aten.topk` whose indices have no user."""
    import torch

    aten, call = torch.ops.aten, graph.graph.call_function
    modified = False
    for node in list(graph.graph.nodes):
        if node.target is not aten.topk.default:
            continue
        outputs = {user.args[1]: user for user in node.users if user.users}
        if set(outputs) != {0}:
            continue
        values = outputs[0]
        fake_values, fake_indices = (value.new_empty(value.shape) for value in node.meta["val"])
        with graph.graph.inserting_after(values):
            total = call(aten.add.Tensor, (values,))
        with graph.graph.inserting_before(total):
            indices = call(getitem, (node, 1))
            negative = call(aten.lt.Scalar, (indices, 0))
            zero = call(aten.to.dtype, (negative, fake_values.dtype))
        metas = ((total, fake_values), (indices, fake_indices), (negative, fake_indices.bool()), (zero, fake_values))
        for added, fake in metas:
            added.meta = {**values.meta, "val": fake}
        values.replace_all_uses_with(total, delete_user_cb=lambda user, total=total: user is not total)
        total.args = (values, zero)
        modified = True
    return PassResult(graph, modified)
