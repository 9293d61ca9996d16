"""Decompose ops that write rows by index along one axis, and `aten.diagonal`.

`index_add` and `index_copy` become a product of the source with a one-hot matrix of the indices, so the source must be
finite: 0 * inf is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.index_add`, `aten.index_fill`, `aten.index_copy` and `aten.diagonal`.

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
        if not x.is_floating_point():
            return KEEP_OP
        hot = one_hot(x, dim, index)
        return torch.where(broadcast_along(x, dim, hot.any(1)), scatter_rows(x, dim, hot, source), x)

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
