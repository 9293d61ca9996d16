"""Decompose pools with arguments that converters lack: divisors, dilation, adaptive sizes that do not divide evenly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def avg_pool_divisor(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.avg_pool2d` with `divisor_override` into an average pool times kernel elements / divisor.

    Average pools without a divisor stay.
    """
    import torch
    from torch.nn import functional as F

    def avg_pool2d(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        """`more`: stride, padding, ceil_mode, count_include_pad, divisor_override, as in the op's schema."""
        defaults: list[Any] = [[], [0], False, True, None]
        stride, padding, ceil_mode, _, divisor = list(more) + defaults[len(more) :]
        if divisor is None:
            return KEEP_OP
        strides, pads, sizes = pair(stride or kernel), pair(padding), pair(kernel)
        counts = window_counts(x.shape, sizes, strides, pads, ceil_mode)
        after = [max(0, (counts[a] - 1) * strides[a] + sizes[a] - x.shape[a - 2] - pads[a]) for a in (0, 1)]
        # Pad with zeros, so that every window is whole and averages over all its elements.
        padded = F.pad(x, (pads[1], after[1], pads[0], after[0]))
        return F.avg_pool2d(padded, sizes, strides) * (sizes[0] * sizes[1] / divisor)

    return {torch.ops.aten.avg_pool2d.default: avg_pool2d}


def dilated_max_pool(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.max_pool2d` with dilation into the maximum of strided slices, one per kernel element.

    Max pools without dilation stay.
    """
    import torch
    from torch.nn import functional as F

    def max_pool2d(
        x: torch.Tensor,
        kernel: list[int],
        stride: list[int] = [],  # noqa: B006 - the op's own schema says []; it is only read
        padding: list[int] = [0],  # noqa: B006 - the same
        dilation: list[int] = [1],  # noqa: B006 - the same
        ceil_mode: bool = False,
    ) -> Any:
        dilations = pair(dilation)
        if dilations == [1, 1]:
            return KEEP_OP
        strides, pads, sizes = pair(stride or kernel), pair(padding), pair(kernel)
        extents = [(sizes[a] - 1) * dilations[a] + 1 for a in (0, 1)]
        counts = window_counts(x.shape, extents, strides, pads, ceil_mode)
        spans = [(counts[a] - 1) * strides[a] + 1 for a in (0, 1)]
        after = [max(0, extents[a] - 1 + spans[a] - x.shape[a - 2] - pads[a]) for a in (0, 1)]
        padded = F.pad(x, (pads[1], after[1], pads[0], after[0]), value=-math.inf)
        output = None
        for row in range(sizes[0]):
            for column in range(sizes[1]):
                top, left = row * dilations[0], column * dilations[1]
                part = padded[..., top : top + spans[0] : strides[0], left : left + spans[1] : strides[1]]
                output = part if output is None else torch.maximum(output, part)
        assert output is not None
        return output

    return {torch.ops.aten.max_pool2d.default: max_pool2d}


def one_sided_ceil(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.max_pool2d` with ceil_mode that adds a window along one axis alone, without dilation.

    The last row or column is repeated, which cannot change a maximum, and the pool rounds down. Empty where the program
    has no such pool.
    """
    import torch
    from torch.nn import functional as F

    target = torch.ops.aten.max_pool2d.default

    def max_pool2d(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        extra = ceil_extra(tuple(x.shape), kernel, *more)
        if (extra[0] > 0) == (extra[1] > 0):
            return KEEP_OP
        axis = -2 if extra[0] else -1
        last = x.narrow(axis, x.shape[axis] - 1, 1)
        return F.max_pool2d(torch.cat([x, *[last] * extra[axis]], axis), kernel, *more[:2])

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    extras = [ceil_extra(tuple(node.args[0].meta["val"].shape), *node.args[1:]) for node in nodes]
    return {target: max_pool2d} if any((down > 0) != (across > 0) for down, across in extras) else {}


def ceil_extra(shape: tuple[int, ...], kernel: list[int], *more: Any) -> list[int]:
    """Return by how many rows and columns the windows of a max pool with ceil_mode reach beyond the padded input.

    Zero without ceil_mode, and with dilation. `more`: stride, padding, dilation, ceil_mode, as in the op's schema.
    """
    defaults: list[Any] = [[], [0], [1], False]
    stride, padding, dilation, ceil_mode = [*more, *defaults[len(more) :]]
    if not ceil_mode or pair(dilation) != [1, 1]:
        return [0, 0]
    sizes, strides, pads = pair(kernel), pair(stride or kernel), pair(padding)
    counts = window_counts(shape, sizes, strides, pads, True)
    axes = zip(shape[-2:], counts, sizes, strides, pads, strict=True)
    return [max(0, (count - 1) * step + extent - size - 2 * pad) for size, count, extent, step, pad in axes]


def dilated_max_pool_of_rows(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.max_pool1d` with dilation into `aten.max_pool2d` of maps of one row. Empty without dilation."""
    import torch
    from torch.nn import functional as F

    target = torch.ops.aten.max_pool1d.default

    def max_pool1d(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        defaults: list[Any] = [[], [0], [1], False]
        stride, padding, dilation, ceil_mode = [*more, *defaults[len(more) :]]
        if dilation[0] == 1:
            return KEEP_OP
        sizes, strides = [1, kernel[0]], [1, (stride or kernel)[0]]
        rows = F.max_pool2d(x.unsqueeze(-2), sizes, strides, [0, padding[0]], [1, dilation[0]], ceil_mode)
        return rows.squeeze(-2)

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    return {target: max_pool1d} if any(len(node.args) > 4 and node.args[4] != [1] for node in nodes) else {}


def unbatched_pool(program: ExportedProgram) -> DecompositionTable:
    """Decompose pools of maps [C, H, W] into pools of a batch of one. Empty where every map has a batch axis."""
    import torch

    aten = torch.ops.aten
    targets = (aten.max_pool2d.default, aten.avg_pool2d.default)

    def pool(target: Any) -> Any:
        def batched(x: torch.Tensor, *more: Any) -> Any:
            return target(x.unsqueeze(0), *more).squeeze(0) if x.ndim == 3 else KEEP_OP

        return batched

    nodes = [node for node in program.graph_module.graph.nodes if node.target in targets]
    unbatched = any(node.args[0].meta["val"].ndim == 3 for node in nodes)
    return {target: pool(target) for target in targets} if unbatched else {}


def adaptive_max_pool(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.adaptive_max_pool1d` and `2d` into one `aten.amax` per output index, axis by axis.

    Empty where a node of the program reads the indices of the maxima.
    """
    import torch

    aten = torch.ops.aten
    targets = (aten.adaptive_max_pool2d.default, aten.adaptive_max_pool1d.default)
    nodes = [node for node in program.graph_module.graph.nodes if node.target in targets]
    if any(user.args[1] != 0 and user.users for node in nodes for user in node.users):
        return {}

    def pool(x: torch.Tensor, sizes: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        for axis, count in zip(range(x.ndim - len(sizes), x.ndim), sizes, strict=True):
            size = x.shape[axis]
            windows = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
            x = torch.cat([x.narrow(axis, start, end - start).amax(axis, keepdim=True) for start, end in windows], axis)
        # The indices have no reader.
        return x, torch.zeros_like(x, dtype=torch.int64)

    return dict.fromkeys(targets, pool)


def window_counts(
    shape: Sequence[int], extents: list[int], strides: list[int], pads: list[int], ceil: bool
) -> list[int]:
    """Return the number of windows along height and width, as PyTorch's pools count them.

    With `ceil`, the last window may reach beyond the end but must begin inside the input or its left padding.
    """
    counts = []
    for size, extent, stride, pad in zip(shape[-2:], extents, strides, pads, strict=True):
        room = size + 2 * pad - extent
        count = (-(-room // stride) if ceil else room // stride) + 1
        counts.append(count - 1 if ceil and (count - 1) * stride >= size + pad else count)
    return counts
