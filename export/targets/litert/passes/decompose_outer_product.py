"""Symptom: "contracting dimension sizes must match for lhs/rhs" for a product over one value, such as the attention of
one-channel maps (`(q @ k.T) @ v` of a batch of one, as CSATv2 has it).
Cause: the converter folds the transposes around a product by the sizes of its axes, and confuses those of one.
Instead: a product over one value is a broadcast one.
Retired by: a converter that tells them apart (seen in litert-converter 0.5.0; tests/export/test_uncommon.py has it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def decompose_outer_product(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Write such products as broadcast ones, in place; whether there was one."""
    import torch

    aten = torch.ops.aten
    products = {aten.matmul.default, aten.bmm.default, aten.mm.default}
    found = [
        node
        for node in graph.graph.nodes
        if node.target in products
        and all(side.meta["val"].ndim >= 2 for side in node.args)
        and node.args[0].meta["val"].shape[-1] == 1
    ]
    for node in found:
        node.target = aten.mul.Tensor
    return PassResult(graph, bool(found))
