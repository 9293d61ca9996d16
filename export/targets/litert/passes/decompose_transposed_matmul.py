"""Symptom: the product of two matrices that are both transposed, `q.transpose(1, 2) @ k.transpose(1, 2)` of one head
(attention over context, as OCRNet's), ends with "fully_connected.cc: input->dims->data[...] != cols" when the file
is opened, or, where the matrices are square, in silently wrong values.
Cause: the converter turns a product whose second operand is transposed into FULLY_CONNECTED where there is no batch,
and forgets that the first is transposed too. Layouts transpose operands where the net does not.
Instead: an einsum, which the converter lowers without these passes.
Retired by: a converter that keeps both (seen in litert-converter 0.5.0; tests/export/test_uncommon.py has the nets).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.dataflow import computed_from

if TYPE_CHECKING:
    from torch import fx

BATCHES = "abcdefgh"


def decompose_transposed_matmul(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Write such products as einsums, in place; whether there was one."""
    import torch

    aten = torch.ops.aten
    products = {aten.matmul.default, aten.bmm.default, aten.mm.default}
    computed = computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)
    found = [
        node
        for node in graph.graph.nodes
        if node.target in products and all(side in computed and alone(side) for side in node.args)
    ]
    for node in found:
        left, right = (side.meta["val"].ndim - 2 for side in node.args)
        wide = BATCHES[: max(left, right)]
        terms = f"{wide[len(wide) - left :]}nk,{wide[len(wide) - right :]}km->{wide}nm"
        with graph.graph.inserting_before(node):
            made = graph.graph.call_function(aten.einsum.default, (terms, list(node.args)))
        made.meta = {**node.meta}
        node.replace_all_uses_with(made)
        graph.graph.erase_node(node)
    return PassResult(graph, bool(found))


def alone(node: fx.Node) -> bool:
    """Whether it is one matrix."""
    shape = node.meta["val"].shape
    return len(shape) >= 2 and prod(shape[:-2]) == 1
