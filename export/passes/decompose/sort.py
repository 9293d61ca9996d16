"""Decompose sorting, order statistics and searches in sorted rows into `aten.topk` and comparisons.

The order of equal elements is unspecified. NaN is not ordered as PyTorch orders it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `sort`, `argsort`, `quantile`, `kthvalue`, `median`, `searchsorted`, and `topk` of the smallest."""
    return sorts() | order_statistics() | searches()


def sorts() -> DecompositionTable:
    """Decompose sorting into a `topk` of the whole axis, and a `topk` of the smallest into a `topk` of -x."""
    import torch

    def topk(x: torch.Tensor, k: int, dim: int = -1, largest: bool = True, ordered: bool = True) -> Any:
        if largest or not x.is_floating_point():
            return KEEP_OP
        values, indices = torch.topk(-x, k, dim)
        return -values, indices

    def sort(x: torch.Tensor, dim: int = -1, descending: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.topk(x, x.shape[dim], dim, descending)

    def stable_sort(
        x: torch.Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return sort(x, dim, descending)

    aten = torch.ops.aten
    return {
        aten.topk.default: topk,
        aten.sort.default: sort,
        aten.sort.stable: stable_sort,
        aten.argsort.default: lambda x, dim=-1, descending=False: sort(x, dim, descending)[1],
    }


def order_statistics() -> DecompositionTable:
    """Decompose `aten.quantile` (linear interpolation), `aten.kthvalue` and `aten.median`."""
    import torch

    def quantile(
        x: torch.Tensor, q: float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Any:
        if interpolation != "linear":
            return KEEP_OP
        flat, axis = (x.reshape(-1), 0) if dim is None else (x, dim)
        rank = q * (flat.shape[axis] - 1)
        low, high = math.floor(rank), math.ceil(rank)
        values, _ = torch.topk(flat, high + 1, axis, largest=False)
        first, last = values.narrow(axis, low, 1), values.narrow(axis, high, 1)
        result = first + (last - first) * (rank - low)
        if dim is None:
            return result.reshape([1] * x.ndim if keepdim else [])
        return result if keepdim else result.squeeze(axis)

    def kthvalue(x: torch.Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        values, indices = torch.topk(x, k, dim, largest=False)
        values, indices = values.narrow(dim, k - 1, 1), indices.narrow(dim, k - 1, 1)
        return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))

    def median(x: torch.Tensor, dim: int, keepdim: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        return kthvalue(x, (x.shape[dim] + 1) // 2, dim, keepdim)

    aten = torch.ops.aten
    return {
        aten.quantile.scalar: quantile,
        aten.kthvalue.default: kthvalue,
        aten.median.dim: median,
        aten.median.default: lambda x: median(x.reshape(-1), 0)[0],
    }


def searches() -> DecompositionTable:
    """Decompose `aten.searchsorted` of one sorted row and `aten.bucketize` into a count of the smaller boundaries."""
    import torch

    def searchsorted(
        row: torch.Tensor,
        x: torch.Tensor,
        out_int32: bool = False,
        right: bool = False,
        side: str | None = None,
        sorter: torch.Tensor | None = None,
    ) -> Any:
        if row.ndim != 1 or sorter is not None:
            return KEEP_OP
        passed = row <= x.unsqueeze(-1) if right or side == "right" else row < x.unsqueeze(-1)
        return passed.sum(-1).to(torch.int32 if out_int32 else torch.int64)

    def bucketize(x: torch.Tensor, row: torch.Tensor, out_int32: bool = False, right: bool = False) -> Any:
        return searchsorted(row, x, out_int32, right)

    aten = torch.ops.aten
    return {aten.searchsorted.Tensor: searchsorted, aten.bucketize.Tensor: bucketize}
