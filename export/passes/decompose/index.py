"""Decompose ops that write rows by index along one axis, and ops that read or write at constant positions.

`index_add` and `index_copy` become a product of the source with a one-hot matrix of the indices, so the source must be
finite: 0 * inf is NaN.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.index_add`, `aten.index_fill`, `aten.index_copy`, and reads and writes of diagonals and strides.

    Integer tensors keep `index_add` and `index_copy`: converters multiply matrices of floats only.
    """
    import torch

    def index_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, *, alpha: float = 1) -> Any:
        if not x.is_floating_point():
            return KEEP_OP
        return x + scatter_rows(x, dim, one_hot(x, dim, index), source) * alpha

    def index_fill(x: torch.Tensor, dim: int, index: torch.Tensor, value: Any) -> torch.Tensor:
        value = value if isinstance(value, torch.Tensor) else torch.full([], value, dtype=x.dtype)
        return torch.where(broadcast_along(x, dim, one_hot(x, dim, index).any(1)), value.to(x.dtype), x)

    def index_copy(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> Any:
        if not x.is_floating_point() or x.ndim == 0:
            return KEEP_OP if x.ndim else source.reshape(())
        hot = one_hot(x, dim, index)
        return torch.where(broadcast_along(x, dim, hot.any(1)), scatter_rows(x, dim, hot, source), x)

    aten = torch.ops.aten
    return diagonals() | {
        aten.index_add.default: index_add,
        aten.index_fill.int_Scalar: index_fill,
        aten.index_fill.int_Tensor: index_fill,
        aten.index_copy.default: index_copy,
    }


def diagonals() -> DecompositionTable:
    """Decompose reads and writes of diagonals, and `aten.as_strided_scatter`, into gathers and slices."""
    import torch

    def diagonal(x: torch.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> torch.Tensor:
        rows, columns = x.shape[dim1], x.shape[dim2]
        count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
        flat = x.movedim((dim1, dim2), (-2, -1)).flatten(-2)
        start = offset if offset >= 0 else -offset * columns
        return flat.index_select(-1, torch.arange(count) * (columns + 1) + start)

    def diag(x: torch.Tensor, offset: int = 0) -> torch.Tensor:
        return diagonal(x, offset) if x.ndim == 2 else torch.diag_embed(x, offset)

    def diagonal_scatter(
        x: torch.Tensor, source: torch.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
    ) -> torch.Tensor:
        moved = x.movedim((dim1, dim2), (-2, -1))
        columns = x.shape[dim2]
        written = [row * columns + row + offset for row in range(x.shape[dim1]) if 0 <= row + offset < columns]
        return replaced(moved.flatten(-2), source, written).reshape(moved.shape).movedim((-2, -1), (dim1, dim2))

    def as_strided_scatter(
        x: torch.Tensor, source: torch.Tensor, size: list[int], stride: list[int], storage_offset: int | None = None
    ) -> torch.Tensor:
        steps = itertools.product(*(range(count) for count in size))
        written = [(storage_offset or 0) + sum(map(operator.mul, stride, step)) for step in steps]
        return replaced(x.reshape(-1), source.reshape(-1), written).reshape(x.shape)

    aten = torch.ops.aten
    return {
        aten.diagonal.default: diagonal,
        aten.diagonal_copy.default: diagonal,
        aten.linalg_diagonal.default: lambda x, *, offset=0, dim1=-2, dim2=-1: diagonal(x, offset, dim1, dim2),
        aten.diag.default: diag,
        aten.trace.default: lambda x: diagonal(x).sum(),
        aten.diagonal_scatter.default: diagonal_scatter,
        aten.as_strided_scatter.default: as_strided_scatter,
    }


def replaced(flat: torch.Tensor, source: torch.Tensor, written: list[int]) -> torch.Tensor:
    """Return `flat` [..., n] with the elements of `source` [..., m] at the m constant positions `written`.

    The positions are constant, so that the result is a concatenation of slices of both.
    """
    import torch

    both = list(range(flat.shape[-1]))
    for number, position in enumerate(written):
        both[position] = len(both) + number
    pieces, start = [], 0
    for end in range(1, len(both) + 1):
        # A slice ends where the positions do not go on, or go on in the other tensor.
        if end == len(both) or both[end] != both[end - 1] + 1 or both[end] == len(both):
            tensor, first = (flat, both[start]) if both[start] < len(both) else (source, both[start] - len(both))
            pieces.append(tensor.narrow(-1, first, end - start))
            start = end
    return torch.cat(pieces, -1)


def one_hot(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return a bool matrix [size of axis `dim`, number of indices]: True where the index names the position."""
    import torch

    size = x.shape[dim]
    return torch.arange(size).unsqueeze(1) == torch.where(index < 0, index + size, index).reshape(1, -1)


def broadcast_along(x: torch.Tensor, dim: int, vector: torch.Tensor) -> torch.Tensor:
    """Reshape a vector, one element per position of axis `dim`, so that it broadcasts against `x`."""
    return vector.reshape([-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)])


def scatter_rows(x: torch.Tensor, dim: int, hot: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return the sum of the rows of `source` that go to each position of axis `dim`, by a product with `hot`."""
    last = source.movedim(dim, -1) if source.ndim else source
    return (last @ hot.to(x.dtype).T).movedim(-1, dim)
