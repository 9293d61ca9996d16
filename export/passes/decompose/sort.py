"""Sorting, k-th values and places in a sorted row, by the largest of the k largest and by comparisons."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    return sorting() | picks()


def sorting() -> DecompositionTable:
    """Sorted rows are all of their largest values; the smallest are the largest of what is turned round."""
    import torch

    def topk(x: torch.Tensor, k: int, dim: int = -1, largest: bool = True, ordered: bool = True) -> Any:
        if largest or not x.is_floating_point():
            return KEEP_OP
        values, places = torch.topk(-x, k, dim)
        return -values, places

    def ordered(x: torch.Tensor, dim: int = -1, descending: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.topk(x, x.shape[dim], dim, descending)

    def stable(
        x: torch.Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return ordered(x, dim, descending)

    def quantile(
        x: torch.Tensor, q: float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Any:
        if interpolation != "linear":
            return KEEP_OP
        flat, axis = (x.reshape(-1), 0) if dim is None else (x, dim)
        place = q * (flat.shape[axis] - 1)
        low, high = math.floor(place), math.ceil(place)
        values, _ = torch.topk(flat, high + 1, axis, largest=False)
        first, last = values.narrow(axis, low, 1), values.narrow(axis, high, 1)
        made = first + (last - first) * (place - low)
        if dim is None:
            return made.reshape([1] * x.ndim if keepdim else [])
        return made if keepdim else made.squeeze(axis)

    aten = torch.ops.aten
    return {
        aten.topk.default: topk,
        aten.sort.default: ordered,
        aten.sort.stable: stable,
        aten.argsort.default: lambda x, dim=-1, descending=False: ordered(x, dim, descending)[1],
        aten.quantile.scalar: quantile,
    }


def picks() -> DecompositionTable:
    """Medians and k-th values, and places in a sorted row."""
    import torch

    def kthvalue(x: torch.Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        values, places = torch.topk(x, k, dim, largest=False)
        values, places = values.narrow(dim, k - 1, 1), places.narrow(dim, k - 1, 1)
        return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))

    def median(x: torch.Tensor, dim: int, keepdim: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        return kthvalue(x, (x.shape[dim] + 1) // 2, dim, keepdim)

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
    return {
        aten.kthvalue.default: kthvalue,
        aten.median.dim: median,
        aten.median.default: lambda x: median(x.reshape(-1), 0)[0],
        aten.searchsorted.Tensor: searchsorted,
        aten.bucketize.Tensor: bucketize,
    }
