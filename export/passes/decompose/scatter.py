"""Decompose scatters along one axis into selections, and writes into slices into concatenations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from export.passes.decompose.index import broadcast_along
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The most indices along the axis for which a scatter is decomposed: one selection per index.
MOST_INDICES = 16


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.scatter`, `aten.scatter_add` and `aten.one_hot` into comparisons with an index range and `where`.

    Only scatters whose index covers the other axes whole, with at most MOST_INDICES along `dim`; others stay.
    """
    import torch

    def scatter(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        def write(output: torch.Tensor, hit: torch.Tensor, row: int) -> torch.Tensor:
            return torch.where(hit, source.narrow(dim, row, 1), output)

        return scatter_by_selection(x, dim, index, write)

    def scatter_value(x: torch.Tensor, dim: int, index: torch.Tensor, value: float) -> Any:
        scalar = torch.full([], value, dtype=x.dtype)
        return scatter_by_selection(x, dim, index, lambda output, hit, row: torch.where(hit, scalar, output))

    def scatter_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        def add(output: torch.Tensor, hit: torch.Tensor, row: int) -> torch.Tensor:
            part = source.narrow(dim, row, 1)
            return output + torch.where(hit, part, torch.zeros_like(part))

        return scatter_by_selection(x, dim, index, add)

    def one_hot(x: torch.Tensor, classes: int = -1) -> Any:
        return KEEP_OP if classes < 1 else (x.unsqueeze(-1) == torch.arange(classes)).to(torch.int64)

    aten = torch.ops.aten
    return {
        aten.scatter.src: scatter,
        aten.scatter.value: scatter_value,
        aten.scatter_add.default: scatter_add,
        aten.one_hot.default: one_hot,
    }


def scatter_by_selection(
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    update: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor],
) -> Any:
    """Apply `update(output, hit, row)` for each row of indices along `dim`, in order, so that the last write wins.

    `hit` is True where the row's index names the position.
    """
    import torch

    axis = dim % x.ndim
    others = [size for other, size in enumerate(x.shape) if other != axis]
    if index.shape[axis] > MOST_INDICES or [n for other, n in enumerate(index.shape) if other != axis] != others:
        return KEEP_OP
    positions = broadcast_along(x, axis, torch.arange(x.shape[axis]))
    for row in range(index.shape[axis]):
        x = update(x, positions == index.narrow(axis, row, 1), row)
    return x


def slice_writes(program: ExportedProgram) -> DecompositionTable:
    """Decompose writes into parts of a tensor: `x[a:b] = y`, `x[i] = y` along one axis, and `x[mask] = scalar`.

    Before: `aten.slice_scatter`, `aten.select_scatter`, `aten.index_put` with one bool mask and one element, or with at
    most MOST_INDICES computed indices. After: `aten.cat` of slices, `aten.where`. Other writes stay.
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
        written = range(*slice(start, end, step).indices(size))
        if len(written) == size:
            return part
        if step == 1:
            before, after = x.narrow(dim, 0, written.start), x.narrow(dim, written.stop, size - written.stop)
            return torch.cat([piece for piece in (before, part, after) if piece.shape[dim]], dim)
        pieces = [part.narrow(dim, written.index(i), 1) if i in written else x.narrow(dim, i, 1) for i in range(size)]
        return torch.cat(pieces, dim)

    def select_scatter(x: torch.Tensor, part: torch.Tensor, dim: int, index: int) -> torch.Tensor:
        position = index % x.shape[dim]
        return slice_scatter(x, part.unsqueeze(dim), dim, position, position + 1)

    def index_put(
        x: torch.Tensor, indices: list[torch.Tensor | None], values: torch.Tensor, accumulate: bool = False
    ) -> Any:
        mask = indices[0] if len(indices) == 1 else None
        if mask is None or mask.dtype != torch.bool:
            return write_positions(x, indices, values, accumulate)
        if values.numel() != 1 or accumulate:
            return KEEP_OP
        return torch.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), values.reshape(()), x)

    aten = torch.ops.aten
    return {
        aten.slice_scatter.default: slice_scatter,
        aten.select_scatter.default: select_scatter,
        aten.index_put.default: index_put,
    }


def write_positions(x: torch.Tensor, indices: list[torch.Tensor | None], values: torch.Tensor, accumulate: bool) -> Any:
    """Write `values` to computed indices along adjacent axes of `x`, one selection per index.

    With `accumulate` they are added. Keeps the op for masks, for axes that are not adjacent, for more than MOST_INDICES
    indices, and for open sizes.
    """
    import torch

    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    shape = torch.broadcast_shapes(*(index.shape for index in given))
    sizes = [*x.shape, *shape]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    if not adjacent or any(index.dtype == torch.bool for index in given) or not all(isinstance(n, int) for n in sizes):
        return KEEP_OP
    count, first = math.prod(shape), axes[0]
    lead, inner = list(x.shape[:first]), list(x.shape[first + len(axes) :])
    if not 0 < count <= MOST_INDICES:
        return KEEP_OP
    # One index into the joined axes per write.
    place = torch.zeros(shape, dtype=torch.int64)
    for axis, index in zip(axes, given, strict=True):
        place = place * x.shape[axis] + torch.where(index < 0, index + x.shape[axis], index)
    place = place.reshape(count)
    total = math.prod(x.shape[axis] for axis in axes)
    output = x.reshape([*lead, total, *inner])
    rows = values.expand([*lead, *shape, *inner]).reshape([*lead, count, *inner])
    positions = torch.arange(total)
    for number in range(count):
        hit = broadcast_along(output, first, positions == place.narrow(0, number, 1))
        row = rows.narrow(first, number, 1)
        output = torch.where(hit, row + output if accumulate else row, output)
    return output.reshape(x.shape)
