"""Writes to computed places along an axis, a selection a row of places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.index import along
from export.passes.decompose.spell_out import Table, unchanged

if TYPE_CHECKING:
    import torch

# Rows of places that a scatter is spelled out for.
ROWS = 16


def table() -> Table:
    """Scatters whose places reach over the whole of the other axes; others stay."""
    import torch

    def scatter(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        return scattered(x, dim, index, lambda made, hit, row: torch.where(hit, source.narrow(dim, row, 1), made))

    def scatter_value(x: torch.Tensor, dim: int, index: torch.Tensor, value: float) -> Any:
        number = torch.full([], value, dtype=x.dtype)
        return scattered(x, dim, index, lambda made, hit, row: torch.where(hit, number, made))

    def scatter_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        def join(made: torch.Tensor, hit: torch.Tensor, row: int) -> torch.Tensor:
            part = source.narrow(dim, row, 1)
            return made + torch.where(hit, part, torch.zeros_like(part))

        return scattered(x, dim, index, join)

    def one_hot(x: torch.Tensor, classes: int = -1) -> Any:
        return unchanged() if classes < 1 else (x.unsqueeze(-1) == torch.arange(classes)).to(torch.int64)

    aten = torch.ops.aten
    return {
        aten.scatter.src: scatter,
        aten.scatter.value: scatter_value,
        aten.scatter_add.default: scatter_add,
        aten.one_hot.default: one_hot,
    }


def scattered(x: torch.Tensor, dim: int, index: torch.Tensor, join: Any) -> Any:
    """`join(x, which, row)` for every row of places along the axis, the last one last."""
    import torch

    axis = dim % x.ndim
    others = [size for place, size in enumerate(x.shape) if place != axis]
    if index.shape[axis] > ROWS or [size for place, size in enumerate(index.shape) if place != axis] != others:
        return unchanged()
    every = along(x, axis, torch.arange(x.shape[axis]))
    for row in range(index.shape[axis]):
        x = join(x, every == index.narrow(axis, row, 1), row)
    return x
