"""Reads and writes at rows of an axis, and diagonals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.spell_out import Table, unchanged

if TYPE_CHECKING:
    import torch


# Rows of places that a scatter is spelled out for, one selection each.
ROWS = 16


def table() -> Table:
    """Reads and writes at rows of an axis, and diagonals: comparisons of places, products and one gather."""
    import torch

    def chosen(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
        """[size, count]: which of the axis' places each index names."""
        size = x.shape[dim]
        return torch.arange(size).unsqueeze(1) == torch.where(index < 0, index + size, index).reshape(1, -1)

    def along(x: torch.Tensor, dim: int, row: torch.Tensor) -> torch.Tensor:
        """A value a place, shaped to stand beside x."""
        return row.reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)])

    def moved(x: torch.Tensor, dim: int, table: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """What the rows of `source` add to each place of the axis."""
        last = source.movedim(dim, -1) if source.ndim else source
        return (last @ table.to(x.dtype).T).movedim(-1, dim)

    def index_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, *, alpha: float = 1) -> Any:
        if not x.is_floating_point():
            return unchanged()
        return x + moved(x, dim, chosen(x, dim, index), source) * alpha

    def index_fill(x: torch.Tensor, dim: int, index: torch.Tensor, value: Any) -> torch.Tensor:
        value = value if isinstance(value, torch.Tensor) else torch.full([], value, dtype=x.dtype)
        return torch.where(along(x, dim, chosen(x, dim, index).any(1)), value.to(x.dtype), x)

    def index_copy(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        if not x.is_floating_point():
            return unchanged()
        table = chosen(x, dim, index)
        return torch.where(along(x, dim, table.any(1)), moved(x, dim, table, source), x)

    def scattered(x: torch.Tensor, dim: int, index: torch.Tensor, join: Any) -> Any:
        """`join(x, which, row)` for every row of places along the axis, the last one last."""
        axis = dim % x.ndim
        others = [size for place, size in enumerate(x.shape) if place != axis]
        if index.shape[axis] > ROWS or [size for place, size in enumerate(index.shape) if place != axis] != others:
            return unchanged()
        every = along(x, axis, torch.arange(x.shape[axis]))
        for row in range(index.shape[axis]):
            x = join(x, every == index.narrow(axis, row, 1), row)
        return x

    def scatter(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        return scattered(x, dim, index, lambda made, hit, row: torch.where(hit, source.narrow(dim, row, 1), made))

    def scatter_value(x: torch.Tensor, dim: int, index: torch.Tensor, value: float) -> Any:
        number = torch.full([], value, dtype=x.dtype)
        return scattered(x, dim, index, lambda made, hit, row: torch.where(hit, number, made))

    def scatter_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        return scattered(x, dim, index, lambda made, hit, row: made + hit.to(x.dtype) * source.narrow(dim, row, 1))

    def one_hot(x: torch.Tensor, classes: int = -1) -> Any:
        return unchanged() if classes < 1 else (x.unsqueeze(-1) == torch.arange(classes)).to(torch.int64)

    def hstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tensors, 0 if tensors[0].ndim < 2 else 1)

    def vstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([each.reshape(1, -1) if each.ndim < 2 else each for each in tensors])

    def dstack(tensors: list[torch.Tensor]) -> torch.Tensor:
        raised = [each.reshape(1, -1) if each.ndim < 2 else each for each in tensors]
        return torch.cat([each.unsqueeze(-1) if each.ndim < 3 else each for each in raised], 2)

    def eye(rows: int, columns: int, dtype: torch.dtype | None) -> torch.Tensor:
        return (torch.arange(rows).unsqueeze(1) == torch.arange(columns)).to(dtype or torch.get_default_dtype())

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
        aten.scatter.src: scatter,
        aten.scatter.value: scatter_value,
        aten.scatter_add.default: scatter_add,
        aten.one_hot.default: one_hot,
        aten.hstack.default: hstack,
        aten.vstack.default: vstack,
        aten.dstack.default: dstack,
        aten.eye.default: lambda n, *, dtype=None, **more: eye(n, n, dtype),
        aten.eye.m: lambda n, m, *, dtype=None, **more: eye(n, m, dtype),
        aten.diagonal.default: diagonal,
    }
