"""Writes to computed places along an axis, a selection a row of places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.index import along
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# Rows of places that a scatter is spelled out for.
ROWS = 16


def decompositions(program: ExportedProgram) -> DecompositionTable:
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
        return KEEP_OP if classes < 1 else (x.unsqueeze(-1) == torch.arange(classes)).to(torch.int64)

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
        return KEEP_OP
    every = along(x, axis, torch.arange(x.shape[axis]))
    for row in range(index.shape[axis]):
        x = join(x, every == index.narrow(axis, row, 1), row)
    return x


def slice_writes(program: ExportedProgram) -> DecompositionTable:
    """Assignments to parts of a tensor, as concatenations and selections instead of scatters.

    `x[a:b] = y` and `x[i] = y` along one axis, and `x[mask] = number`; scatters to computed places stay.
    """
    import torch

    def slice_scatter(
        x: torch.Tensor,
        part: torch.Tensor,
        dim: int = 0,
        start: int | None = None,
        end: int | None = None,
        step: int = 1,
    ) -> torch.Tensor:
        size = x.shape[dim]
        places = range(*slice(start, end, step).indices(size))
        if len(places) == size:
            return part
        if step == 1:
            before, after = x.narrow(dim, 0, places.start), x.narrow(dim, places.stop, size - places.stop)
            return torch.cat([piece for piece in (before, part, after) if piece.shape[dim]], dim)
        pieces = [part.narrow(dim, places.index(at), 1) if at in places else x.narrow(dim, at, 1) for at in range(size)]
        return torch.cat(pieces, dim)

    def select_scatter(x: torch.Tensor, part: torch.Tensor, dim: int, index: int) -> torch.Tensor:
        at = index % x.shape[dim]
        return slice_scatter(x, part.unsqueeze(dim), dim, at, at + 1)

    def index_put(
        x: torch.Tensor, indices: list[torch.Tensor | None], values: torch.Tensor, accumulate: bool = False
    ) -> Any:
        mask = indices[0] if len(indices) == 1 else None
        if mask is None or mask.dtype != torch.bool or values.numel() != 1 or accumulate:
            return KEEP_OP
        return torch.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), values.reshape(()), x)

    aten = torch.ops.aten
    return {
        aten.slice_scatter.default: slice_scatter,
        aten.select_scatter.default: select_scatter,
        aten.index_put.default: index_put,
    }
