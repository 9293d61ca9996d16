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
    return sorts() | order_statistics() | searches() | counts() | memberships()


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
    """Decompose `aten.searchsorted` and `aten.bucketize` into a count of the smaller boundaries."""
    import torch

    def searchsorted(
        row: torch.Tensor,
        x: torch.Tensor,
        out_int32: bool = False,
        right: bool = False,
        side: str | None = None,
        sorter: torch.Tensor | None = None,
    ) -> Any:
        if sorter is not None:
            row = torch.gather(row, -1, sorter)
        # One row for all of x, or one row of boundaries per row of x.
        row = row if row.ndim == 1 else row.unsqueeze(-2)
        passed = row <= x.unsqueeze(-1) if right or side == "right" else row < x.unsqueeze(-1)
        return passed.sum(-1).to(torch.int32 if out_int32 else torch.int64)

    def bucketize(x: torch.Tensor, row: torch.Tensor, out_int32: bool = False, right: bool = False) -> Any:
        return searchsorted(row, x, out_int32, right)

    aten = torch.ops.aten
    return {aten.searchsorted.Tensor: searchsorted, aten.bucketize.Tensor: bucketize}


def counts() -> DecompositionTable:
    """Decompose `aten.mode` and `aten.nanmedian` into comparisons of all pairs."""
    import torch

    def mode(x: torch.Tensor, dim: int = -1, keepdim: bool = False) -> Any:
        if not x.is_floating_point():
            return KEEP_OP
        if x.ndim == 0:
            return x.clone(), torch.zeros([], dtype=torch.int64)
        rows = x.movedim(dim, -1)
        frequency = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).to(torch.float32).sum(-1)
        often = frequency == frequency.amax(-1, keepdim=True)
        # The smallest of the most frequent elements, at its last position.
        value = torch.where(often, rows, torch.full([], math.inf, dtype=x.dtype)).amin(-1, keepdim=True)
        positions = torch.arange(rows.shape[-1], dtype=torch.float32)
        last = torch.where(rows == value, positions, torch.full([], -1.0)).amax(-1, keepdim=True).to(torch.int64)
        value, last = value.movedim(-1, dim), last.movedim(-1, dim)
        return (value, last) if keepdim else (value.squeeze(dim), last.squeeze(dim))

    def nanmedian(x: torch.Tensor, dim: int, keepdim: bool = False) -> Any:
        if not x.is_floating_point():
            return KEEP_OP
        if x.ndim == 0:
            return x.clone(), torch.zeros([], dtype=torch.int64)
        rows = x.movedim(dim, -1)
        valid = rows == rows
        size = rows.shape[-1]
        ordered = torch.where(valid, rows, torch.full([], math.inf, dtype=x.dtype))
        values, indices = torch.topk(ordered, size, -1, largest=False)
        number = valid.to(torch.float32).sum(-1, keepdim=True)
        rank = torch.clamp(torch.floor((number - 1) / 2), min=0.0)
        chosen = torch.arange(size, dtype=torch.float32) == rank
        index = torch.where(chosen, indices, torch.zeros_like(indices)).sum(-1, keepdim=True)
        value = torch.where(chosen, values, torch.zeros_like(values)).sum(-1, keepdim=True)
        value = torch.where(number == 0, torch.full([], math.nan, dtype=x.dtype), value)
        value, index = value.movedim(-1, dim), index.movedim(-1, dim)
        return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))

    aten = torch.ops.aten
    return {
        aten.mode.default: mode,
        aten.nanmedian.dim: nanmedian,
        aten.nanmedian.default: lambda x: nanmedian(x.reshape(-1), 0)[0] if x.is_floating_point() else KEEP_OP,
    }


def memberships() -> DecompositionTable:
    """Decompose `aten.histc` and `aten.isin` into comparisons of all pairs."""
    import torch

    def histc(x: torch.Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Any:  # noqa: A002  # PyTorch's names
        flat = x.reshape(-1)
        low, high = torch.full([1], float(min)), torch.full([1], float(max))
        if min == max:
            low, high = flat.amin(0, keepdim=True), flat.amax(0, keepdim=True)
            single = low == high
            low, high = torch.where(single, low - 1, low), torch.where(single, high + 1, high)
        inside = (flat >= low) & (flat <= high)
        number = torch.clamp(torch.floor((flat - low) / (high - low) * bins), max=bins - 1.0)
        hit = (number == torch.arange(bins, dtype=x.dtype).unsqueeze(-1)) & inside
        return hit.to(x.dtype).sum(-1)

    def isin(x: torch.Tensor, y: torch.Tensor, *, assume_unique: bool = False, invert: bool = False) -> torch.Tensor:
        found = (x.unsqueeze(-1) == y.reshape(-1)).any(-1)
        return ~found if invert else found

    aten = torch.ops.aten
    return {
        aten.histc.default: histc,
        aten.isin.Tensor_Tensor: isin,
    }
