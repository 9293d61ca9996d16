"""Decompose `aten.grid_sampler` (`F.grid_sample`) into gathers, for formats without the op.

The sampling follows PyTorch (after Jaderberg et al. 2015, "Spatial Transformer Networks").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The op's integer codes of `mode` and `padding_mode`.
BILINEAR, NEAREST = 0, 1
ZEROS, BORDER, REFLECTION = 0, 1, 2

# The index of a pixel along an axis (int64), and 1.0 where the image has that pixel, 0.0 outside.
Pixels = tuple["torch.Tensor", "torch.Tensor"]


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose bilinear and nearest sampling of NCHW maps with any padding mode; bicubic and volumes stay."""
    import torch

    def grid_sampler(x: torch.Tensor, grid: torch.Tensor, mode: int, padding: int, align_corners: bool) -> Any:
        if x.ndim != 4 or mode not in (BILINEAR, NEAREST):
            return KEEP_OP
        height, width = x.shape[2:]
        across = to_pixels(grid[..., 0], width, padding, align_corners)
        down = to_pixels(grid[..., 1], height, padding, align_corners)
        if mode == NEAREST:
            return gather_pixels(x, clamp_index(torch.round(down), height), clamp_index(torch.round(across), width))
        top, left = torch.floor(down), torch.floor(across)
        low, right = down - top, across - left  # the weights of the farther pixels
        rows = ((clamp_index(top, height), 1 - low), (clamp_index(top + 1, height), low))
        columns = ((clamp_index(left, width), 1 - right), (clamp_index(left + 1, width), right))
        output = None
        for row, row_weight in rows:
            for column, column_weight in columns:
                part = gather_pixels(x, row, column) * (row_weight * column_weight)[:, None]
                output = part if output is None else output + part
        return output

    return {torch.ops.aten.grid_sampler.default: grid_sampler}


def to_pixels(position: torch.Tensor, size: int, padding: int, align_corners: bool) -> torch.Tensor:
    """Convert positions in [-1, 1] to pixel coordinates along an axis, brought inside where `padding` asks for it."""
    import torch

    pixel = (position + 1) * ((size - 1) / 2) if align_corners else ((position + 1) * size - 1) / 2
    if padding == REFLECTION:
        # At the centres of the first and last pixel, or at their outer edges.
        low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
        if span == 0:
            return torch.zeros_like(pixel)
        distance = torch.abs(pixel - low)
        turns = torch.floor(distance / span)
        rest = distance - turns * span
        odd = turns - 2 * torch.floor(turns / 2)
        pixel = rest + odd * (span - 2 * rest) + low
    return pixel if padding == ZEROS else torch.clamp(pixel, 0, size - 1)


def clamp_index(pixel: torch.Tensor, size: int) -> Pixels:
    """Return whole pixel coordinates as (indices inside the axis, 1.0 where they were inside and 0.0 elsewhere)."""
    import torch

    clamped = torch.clamp(pixel, 0, size - 1)
    return clamped.to(torch.int64), (clamped == pixel).to(pixel.dtype)


def gather_pixels(x: torch.Tensor, row: Pixels, column: Pixels) -> torch.Tensor:
    """Return the pixels of `x` [N, C, H, W] at rows and columns [N, h, w], as [N, C, h, w]; 0 outside of the image."""
    import torch

    count, channels, height, width = x.shape
    image = torch.arange(count).reshape(count, 1, 1) * (height * width)
    index = (image + row[0] * width + column[0]).reshape(-1)
    flat = x.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    pixels = torch.index_select(flat, 0, index).reshape(count, *row[0].shape[1:], channels)
    return (pixels * (row[1] * column[1])[..., None]).permute(0, 3, 1, 2)
