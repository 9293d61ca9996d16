"""Rows of an axis that are added to, filled and copied, and diagonals. What is added or copied holds finite numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Comparisons of places, products and one gather."""
    import torch

    def index_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, *, alpha: float = 1) -> Any:
        if not x.is_floating_point():
            return KEEP_OP
        return x + moved(x, dim, chosen(x, dim, index), source) * alpha

    def index_fill(x: torch.Tensor, dim: int, index: torch.Tensor, value: Any) -> torch.Tensor:
        value = value if isinstance(value, torch.Tensor) else torch.full([], value, dtype=x.dtype)
        return torch.where(along(x, dim, chosen(x, dim, index).any(1)), value.to(x.dtype), x)

    def index_copy(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        if not x.is_floating_point():
            return KEEP_OP
        table = chosen(x, dim, index)
        return torch.where(along(x, dim, table.any(1)), moved(x, dim, table, source), x)

    def diagonal(x: torch.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> torch.Tensor:
        rows, columns = x.shape[dim1], x.shape[dim2]
        count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
        flat = x.movedim((dim1, dim2), (-2, -1)).flatten(-2)
        start = offset if offset >= 0 else -offset * columns
        return flat.index_select(-1, torch.arange(count) * (columns + 1) + start)

    aten = torch.ops.aten
    return {
        aten.index_add.default: index_add,
        aten.index_fill.int_Scalar: index_fill,
        aten.index_fill.int_Tensor: index_fill,
        aten.index_copy.default: index_copy,
        aten.diagonal.default: diagonal,
    }


def chosen(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """[size, count]: which of the axis' places each index names."""
    import torch

    size = x.shape[dim]
    return torch.arange(size).unsqueeze(1) == torch.where(index < 0, index + size, index).reshape(1, -1)


def along(x: torch.Tensor, dim: int, row: torch.Tensor) -> torch.Tensor:
    """A value a place, shaped to stand beside x."""
    return row.reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)])


def moved(x: torch.Tensor, dim: int, table: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """What the rows of `source` add to each place of the axis, as a product with the table."""
    last = source.movedim(dim, -1) if source.ndim else source
    return (last @ table.to(x.dtype).T).movedim(-1, dim)
