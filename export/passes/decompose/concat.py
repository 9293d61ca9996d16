"""Tensors beside and behind each other, and the unit matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Concatenations and a comparison of places."""
    import torch

    def hstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tensors, 0 if tensors[0].ndim < 2 else 1)

    def vstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([each.reshape(1, -1) if each.ndim < 2 else each for each in tensors])

    def dstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        raised = [each.reshape(1, -1) if each.ndim < 2 else each for each in tensors]
        return torch.cat([each.unsqueeze(-1) if each.ndim < 3 else each for each in raised], 2)

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
