"""Decompose stacking ops into `aten.cat`, and `aten.eye` into a comparison of row and column indices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.hstack`, `aten.vstack`, `aten.dstack` and `aten.eye`."""
    import torch

    def hstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tensors, 0 if tensors[0].ndim < 2 else 1)

    def vstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([tensor.reshape(1, -1) if tensor.ndim < 2 else tensor for tensor in tensors])

    def dstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        matrices = [tensor.reshape(1, -1) if tensor.ndim < 2 else tensor for tensor in tensors]
        return torch.cat([matrix.unsqueeze(-1) if matrix.ndim < 3 else matrix for matrix in matrices], 2)

    def eye(rows: int, columns: int, dtype: torch.dtype | None) -> torch.Tensor:
        return (torch.arange(rows).unsqueeze(1) == torch.arange(columns)).to(dtype or torch.get_default_dtype())

    aten = torch.ops.aten
    return {
        aten.hstack.default: hstack,
        aten.vstack.default: vstack,
        aten.dstack.default: dstack,
        aten.eye.default: lambda n, *, dtype=None, **more: eye(n, n, dtype),
        aten.eye.m: lambda n, m, *, dtype=None, **more: eye(n, m, dtype),
    }
