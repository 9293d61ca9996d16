"""Decompose `aten.triu` and `aten.tril` of floats into a selection.

Before: triu(x, k)
After:  where(columns - rows >= k, x, 0)

Symptom: a causal mask made by `torch.full((n, n), -inf).triu(1)` is NaN in the package.
Cause: coremltools 9.0 computes the upper triangle as x minus the band below it, and -inf minus -inf is NaN.
Retired by: a coremltools that selects elements (tests/export/test_masks.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def triangles(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.triu` and `aten.tril` of floats; masks of other dtypes stay."""
    import torch

    def diagonal(x: torch.Tensor) -> torch.Tensor:
        rows, columns = (torch.arange(size, dtype=torch.int32) for size in x.shape[-2:])
        return columns.unsqueeze(0) - rows.unsqueeze(1)

    def triu(x: torch.Tensor, offset: int = 0) -> Any:
        return torch.where(diagonal(x) >= offset, x, torch.zeros_like(x)) if x.is_floating_point() else KEEP_OP

    def tril(x: torch.Tensor, offset: int = 0) -> Any:
        return torch.where(diagonal(x) <= offset, x, torch.zeros_like(x)) if x.is_floating_point() else KEEP_OP

    return {torch.ops.aten.triu.default: triu, torch.ops.aten.tril.default: tril}


decompose_triangle = DecomposeOps("decompose_triangle", triangles)
