"""Replace a product of two computed matrices without a batch by an einsum.

Before: matmul(a [1, n, k], b [1, k, m])
After:  einsum("ank,akm->anm", a, b)

Symptom: `q.transpose(1, 2) @ k.transpose(1, 2)` of one head (the attention over context of OCRNet) fails when the file
is opened, with "fully_connected.cc: input->dims->data[...] != cols". Square matrices give wrong values without an
error.
Cause: litert-converter turns a product whose second operand is transposed into FULLY_CONNECTED where the batch is 1,
and forgets that the first operand is transposed too. Its layout passes add transposes where the net has none. It lowers
an einsum without these passes.
Retired by: a litert-converter that keeps both transposes (seen in 0.5.0).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.dataflow import computed_from

if TYPE_CHECKING:
    from torch import fx

BATCH_LETTERS = "abcdefgh"


def replace_transposed_matmul(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Replace `aten.matmul`, `bmm` and `mm` of two operands that both depend on an input and both have batch 1."""
    import torch

    aten = torch.ops.aten
    products = {aten.matmul.default, aten.bmm.default, aten.mm.default}
    computed = computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)
    nodes = [
        node
        for node in graph.graph.nodes
        if node.target in products and all(operand in computed and is_single_matrix(operand) for operand in node.args)
    ]
    for node in nodes:
        left, right = (operand.meta["val"].ndim - 2 for operand in node.args)
        batch = BATCH_LETTERS[: max(left, right)]
        # The batch axes of the operand of lower rank are aligned at the end.
        equation = f"{batch[len(batch) - left :]}nk,{batch[len(batch) - right :]}km->{batch}nm"
        with graph.graph.inserting_before(node):
            einsum = graph.graph.call_function(aten.einsum.default, (equation, list(node.args)))
        einsum.meta = {**node.meta}
        node.replace_all_uses_with(einsum)
        graph.graph.erase_node(node)
    return PassResult(graph, bool(nodes))


def is_single_matrix(node: fx.Node) -> bool:
    """Return whether the tensor has rank 2 or more, and all axes before the last two have size 1."""
    shape = node.meta["val"].shape
    return len(shape) >= 2 and prod(shape[:-2]) == 1
