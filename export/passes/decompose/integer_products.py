"""Decompose matrix products and powers of integers, for formats that multiply matrices of floats only.

Before: aten.matmul(a, b) of integers; aten.pow(x, 3) of integers
After:  aten.matmul(a.float(), b.float()) as integers, exact below 2**24; x * x * x

Symptom: "was passed int32 from matmul/Transpose:0 incompatible with expected float".
"failed to legalize operation" 'tfl.batch_matmul' with tensors of i64, 'tfl.pow' with tensors of f64.
Cause: TF.js's MatMul, BatchMatMulV2 and Pow have no integer kernel, TFLite's BATCH_MATMUL has none of int64, and
litert-torch computes powers of integers in float64.
Retired by: a format with integer kernels (tests/export/test_arguments.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose import einsum as shared
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The largest exponent that is written as products.
MOST_FACTORS = 8


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.matmul`, `mm`, `bmm`, `einsum`, `pow` and `square` of integers, if there are any."""
    import torch

    aten = torch.ops.aten

    def product(target: Any) -> Any:
        def multiply(a: torch.Tensor, b: torch.Tensor) -> Any:
            if a.is_floating_point() or b.is_floating_point():
                return KEEP_OP
            return torch.round(target(a.to(torch.float32), b.to(torch.float32))).to(a.dtype)

        return multiply

    of_floats = shared.decompositions(program)[aten.einsum.default]

    def einsum(equation: str, operands: list[torch.Tensor], *, path: list[int] | None = None) -> Any:
        if any(operand.is_floating_point() for operand in operands):
            return of_floats(equation, operands, path=path)
        floats = [operand.to(torch.float32) for operand in operands]
        return torch.round(torch.einsum(equation, floats)).to(operands[0].dtype)

    def power(x: torch.Tensor, exponent: float) -> Any:
        if x.is_floating_point() or exponent not in range(1, MOST_FACTORS + 1):
            return KEEP_OP
        result = x
        for _ in range(int(exponent) - 1):
            result = result * x
        return result

    table: DecompositionTable = {
        aten.matmul.default: product(aten.matmul.default),
        aten.mm.default: product(aten.mm.default),
        aten.bmm.default: product(aten.bmm.default),
        aten.einsum.default: einsum,
        aten.pow.Tensor_Scalar: power,
        aten.square.default: lambda x: power(x, 2),
    }
    nodes = [node for node in program.graph_module.graph.nodes if node.target in table]
    of_integers = any(not node.meta["val"].is_floating_point() for node in nodes)
    return table if of_integers else {}
