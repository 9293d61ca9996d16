"""Decompose products with vectors, `aten.matmul` and `aten.outer`.

Before: aten.matmul(x [.., M, K], v [K]); aten.outer(a [M], b [N])
After:  aten.matmul(x, v [K, 1]) without its last axis, also of two vectors; a [M, 1] * b [1, N]

Symptom: `x @ v` with a vector fails with "IndexError: list index out of range", which names no op. `torch.outer` of
integers and floats fails with "named outer, the named input `y` must have the same data type".
Cause: coremltools 9.0 reads the last two axes of both operands of `aten.matmul`, and converts `aten.outer` to a matrix
product, which promotes no dtypes.
Retired by: a coremltools that does both as PyTorch does (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def vector_products(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.matmul` with a vector, and `aten.outer`. Empty where no operand of either is a vector."""
    import torch

    def matmul(a: torch.Tensor, b: torch.Tensor) -> Any:
        if b.ndim == 1 and a.ndim > 1:
            return (a @ b.unsqueeze(1)).squeeze(-1)
        if a.ndim == 1 and b.ndim > 1:
            return (a.unsqueeze(0) @ b).squeeze(-2)
        if a.ndim == 1 and b.ndim == 1:
            return (a.unsqueeze(0) @ b.unsqueeze(1)).reshape(())
        return KEEP_OP

    aten = torch.ops.aten
    table: DecompositionTable = {
        aten.matmul.default: matmul,
        aten.outer.default: lambda a, b: a.unsqueeze(1) * b.unsqueeze(0),
    }
    products = [node for node in program.graph_module.graph.nodes if node.target in table]
    vectors = any(operand.meta["val"].ndim == 1 for node in products for operand in node.all_input_nodes)
    return table if vectors else {}


decompose_vector_matmul = DecomposeOps("decompose_vector_matmul", vector_products)
