"""Graph fix: products with vectors.

Symptom: `x @ v` with a v of one axis fails with "IndexError: list index out of range", and names nothing; the outer
product of whole numbers and fractions with "named outer, the named input `y` must have the same data type".
Cause: coremltools 9.0 takes the last two axes of both operands of `aten.matmul`, and writes `aten.outer` as a product
of matrices, which promotes no types.
Retired by: a coremltools that does both as PyTorch does (tests/export/test_coreml_fixes.py keeps the nets).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def vector_products(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.matmul` with a vector into a product with a matrix of one row or column, and `aten.outer`.

    Empty where no operand of such an op has one axis.
    """
    import torch

    def matmul(a: torch.Tensor, b: torch.Tensor) -> Any:
        if b.ndim == 1 and a.ndim > 1:
            return (a @ b.unsqueeze(1)).squeeze(-1)
        if a.ndim == 1 and b.ndim > 1:
            return (a.unsqueeze(0) @ b).squeeze(-2)
        return KEEP_OP

    aten = torch.ops.aten
    table: DecompositionTable = {
        aten.matmul.default: matmul,
        aten.outer.default: lambda a, b: a.unsqueeze(1) * b.unsqueeze(0),
    }
    products = [node for node in program.graph_module.graph.nodes if node.target in table]
    vector = any(operand.meta["val"].ndim == 1 for node in products for operand in node.all_input_nodes)
    return table if vector else {}


decompose_vector_matmul = DecomposeOps("decompose_vector_matmul", vector_products)
