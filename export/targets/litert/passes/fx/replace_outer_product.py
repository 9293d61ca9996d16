"""Replace a matrix product over an axis of one element by a broadcast product.

Before: matmul(a [..., n, 1], b [..., 1, m])
After:  mul(a, b)

Symptom: "contracting dimension sizes must match for lhs/rhs" in the attention of one-channel maps, such as
`(q @ k.T) @ v` of batch 1 in CSATv2.
Cause: litert-converter folds the transposes around a product by the sizes of the axes, and confuses axes of size 1.
Retired by: a litert-converter that does not confuse axes of size 1 (seen in 0.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def replace_outer_product(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Replace `aten.matmul`, `bmm` and `mm` over one element by `aten.mul`. Operands of rank 1 stay."""
    import torch

    aten = torch.ops.aten
    products = {aten.matmul.default, aten.bmm.default, aten.mm.default}
    nodes = [
        node
        for node in graph.graph.nodes
        if node.target in products
        and all(operand.meta["val"].ndim >= 2 for operand in node.args)
        and node.args[0].meta["val"].shape[-1] == 1
    ]
    for node in nodes:
        node.target = aten.mul.Tensor
    return PassResult(graph, bool(nodes))
