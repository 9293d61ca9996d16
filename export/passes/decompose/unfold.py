"""Windows that overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.dynamic_conv import apart
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Windows that overlap: read by one gather, put together by a transposed convolution of ones."""
    import torch
    from torch.nn import functional as F

    def unfold(x: torch.Tensor, dim: int, size: int, step: int) -> torch.Tensor:
        axis = dim % x.ndim
        count = (x.shape[axis] - size) // step + 1
        index = torch.arange(count).unsqueeze(1) * step + torch.arange(size)
        rows = x.index_select(axis, index.reshape(-1))
        return rows.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :]).movedim(axis + 1, -1)

    def as_strided(x: torch.Tensor, size: list[int], stride: list[int], offset: int | None = None) -> Any:
        if not x.is_contiguous():
            return KEEP_OP
        index = torch.full([], offset or 0, dtype=torch.int64)
        for count, step in zip(size, stride, strict=True):
            index = index.unsqueeze(-1) + torch.arange(count) * step
        return x.reshape(-1).index_select(0, index.reshape(-1)).reshape(size)

    def col2im(
        x: torch.Tensor, made: list[int], kernel: list[int], dilation: list[int], padding: list[int], stride: list[int]
    ) -> torch.Tensor:
        taps = kernel[0] * kernel[1]
        reach = [gap * (size - 1) + 1 for gap, size in zip(dilation, kernel, strict=True)]
        room = [size + 2 * side - extent for size, side, extent in zip(made, padding, reach, strict=True)]
        counts = [space // step + 1 for space, step in zip(room, stride, strict=True)]
        rest = [space % step for space, step in zip(room, stride, strict=True)]
        maps = x.reshape(-1, taps, *counts)
        ones = apart(torch.eye(taps, dtype=x.dtype).reshape(taps, 1, *kernel), dilation)
        # Padding is cut off afterwards: not every format has it.
        found = F.pad(F.conv_transpose2d(maps, ones, None, stride), (0, rest[1], 0, rest[0]))
        for axis, (side, size) in enumerate(zip(padding, made, strict=True)):
            found = found.narrow(2 + axis, side, size)
        return found.reshape(*x.shape[:-2], x.shape[-2] // taps, *made)

    aten = torch.ops.aten
    return {
        aten.unfold.default: unfold,
        aten.as_strided.default: as_strided,
        aten.as_strided_copy.default: as_strided,
        aten.col2im.default: col2im,
    }
