"""Sampling a map at places that the net computes, spelled out as gathers: for formats without such an op.

As PyTorch's `grid_sample` does it (after Jaderberg et al. 2015, "Spatial Transformer Networks").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

BILINEAR, NEAREST = 0, 1
ZEROS, BORDER, REFLECTION = 0, 1, 2


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Bilinear and nearest sampling of NCHW maps, whatever lies outside; cubic sampling and volumes stay."""
    import torch

    def grid_sampler(x: torch.Tensor, grid: torch.Tensor, mode: int, outside: int, corners: bool) -> Any:
        if x.ndim != 4 or mode not in (BILINEAR, NEAREST):
            return KEEP_OP
        height, width = x.shape[2:]
        across = placed(grid[..., 0], width, outside, corners)
        down = placed(grid[..., 1], height, outside, corners)
        if mode == NEAREST:
            return picked(x, pixels(torch.round(down), height), pixels(torch.round(across), width))
        top, left = torch.floor(down), torch.floor(across)
        low, right = down - top, across - left  # the shares of the farther ones
        rows = ((pixels(top, height), 1 - low), (pixels(top + 1, height), low))
        columns = ((pixels(left, width), 1 - right), (pixels(left + 1, width), right))
        made = None
        for row, share in rows:
            for column, other in columns:
                part = picked(x, row, column) * (share * other)[:, None]
                made = part if made is None else made + part
        return made

    return {torch.ops.aten.grid_sampler.default: grid_sampler}


def placed(value: torch.Tensor, size: int, outside: int, corners: bool) -> torch.Tensor:
    """Places in [-1, 1] as pixels of an axis, brought inside where `outside` says so."""
    import torch

    place = (value + 1) * ((size - 1) / 2) if corners else ((value + 1) * size - 1) / 2
    if outside == REFLECTION:
        # Mirrored at the middles of the first and last pixel, or at their outer edges.
        low, span = (0.0, float(size - 1)) if corners else (-0.5, float(size))
        if span == 0:
            return torch.zeros_like(place)
        away = torch.abs(place - low)
        turns = torch.floor(away / span)
        rest = away - turns * span
        odd = turns - 2 * torch.floor(turns / 2)
        place = rest + odd * (span - 2 * rest) + low
    return place if outside == ZEROS else torch.clamp(place, 0, size - 1)


def pixels(place: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(numbers of the pixels of an axis, 1 where there is such a pixel and 0 elsewhere) for whole places."""
    import torch

    number = torch.clamp(place, 0, size - 1)
    return number.to(torch.int64), (number == place).to(place.dtype)


def picked(
    x: torch.Tensor, row: tuple[torch.Tensor, torch.Tensor], column: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """[N, C, h, w]: the pixels of `x` [N, C, H, W] at such rows and columns [N, h, w]; zero where there is none."""
    import torch

    count, channels, height, width = x.shape
    photo = torch.arange(count).reshape(count, 1, 1) * (height * width)
    index = (photo + row[0] * width + column[0]).reshape(-1)
    flat = x.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    found = torch.index_select(flat, 0, index).reshape(count, *row[0].shape[1:], channels)
    return (found * (row[1] * column[1])[..., None]).permute(0, 3, 1, 2)
