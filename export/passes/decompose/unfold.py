"""Decompose sliding windows: reads into one gather, sums of overlapping windows into a transposed convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.dynamic_conv import dilate_kernel
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.unfold`, `aten.as_strided` of contiguous tensors and `aten.col2im` (`nn.Fold`)."""
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
        x: torch.Tensor,
        output: list[int],
        kernel: list[int],
        dilation: list[int],
        padding: list[int],
        stride: list[int],
    ) -> torch.Tensor:
        taps = kernel[0] * kernel[1]
        extents = [gap * (size - 1) + 1 for gap, size in zip(dilation, kernel, strict=True)]
        rooms = [size + 2 * pad - extent for size, pad, extent in zip(output, padding, extents, strict=True)]
        counts = [room // step + 1 for room, step in zip(rooms, stride, strict=True)]
        rest = [room % step for room, step in zip(rooms, stride, strict=True)]
        maps = x.reshape(-1, taps, *counts)
        # Kernel i is one at element i and zero elsewhere: the convolution adds every column to its position.
        kernels = dilate_kernel(torch.eye(taps, dtype=x.dtype).reshape(taps, 1, *kernel), dilation)
        # Padding is cropped afterwards: not every format's transposed convolution has it.
        image = F.pad(F.conv_transpose2d(maps, kernels, None, stride), (0, rest[1], 0, rest[0]))
        for axis, (pad, size) in enumerate(zip(padding, output, strict=True)):
            image = image.narrow(2 + axis, pad, size)
        return image.reshape(*x.shape[:-2], x.shape[-2] // taps, *output)

    aten = torch.ops.aten
    return {
        aten.unfold.default: unfold,
        aten.as_strided.default: as_strided,
        aten.as_strided_copy.default: as_strided,
        aten.col2im.default: col2im,
    }
