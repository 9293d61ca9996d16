"""Decompose pools whose indices of the maxima are read, for formats whose pools return values alone.

Symptom: coremltools "does not handle/bind value at index 1", TF.js's MaxPool has no indices, and LiteRT's indices are
silently wrong.
Cause: no target but ONNX has a pool with a second output.
Retired by: converters that return the indices (tests/export/test_pools.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import getitem
from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.decompose.pooling import window_counts
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.max_pool*_with_indices` and `aten.adaptive_max_pool*` into gathers of windows and an argmax.

    Before: values, indices = max_pool2d_with_indices(x [N, C, H, W], kernel, ...)
    After:  taps [N, C, h, w, kernel elements] gathered from x; values = amax(taps), indices = position of argmax(taps)

    Of equal elements the first is taken, as PyTorch does. The table is empty where no node reads the indices.
    """
    import torch

    aten = torch.ops.aten
    pools = {aten.max_pool2d_with_indices.default: max_pool2d, aten.max_pool1d_with_indices.default: max_pool1d}
    adaptive = dict.fromkeys((aten.adaptive_max_pool2d.default, aten.adaptive_max_pool1d.default), adaptive_max_pool)
    nodes = program.graph_module.graph.nodes
    if not any(node.target in (*pools, *adaptive) and has_index_reader(node) for node in nodes):
        return {}
    # Ordinary max pools stay: by default `run_decompositions` turns them into the op with indices.
    ordinary = (aten.max_pool2d.default, aten.max_pool1d.default)
    return {**pools, **adaptive, **dict.fromkeys(ordinary, lambda *args, **more: KEEP_OP)}


def has_index_reader(node: fx.Node) -> bool:
    """Return whether a node reads the second output of `node`."""
    return any(user.target is getitem and user.args[1] == 1 and user.users for user in node.users)


def max_pool2d(
    x: torch.Tensor,
    kernel: list[int],
    stride: list[int] = [],  # noqa: B006 - the op's own schema says []; it is only read
    padding: list[int] = [0],  # noqa: B006 - the same
    dilation: list[int] = [1],  # noqa: B006 - the same
    ceil_mode: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and flat indices of a max pool of maps [N, C, H, W] or [C, H, W]."""
    sizes, strides, pads, dilations = pair(kernel), pair(stride or kernel), pair(padding), pair(dilation)
    extents = [(size - 1) * step + 1 for size, step in zip(sizes, dilations, strict=True)]
    counts = window_counts(x.shape, extents, strides, pads, ceil_mode)
    axes = [Axis(*each) for each in zip(counts, strides, pads, sizes, dilations, strict=True)]
    down, across = (window_table(size, axis) for size, axis in zip(x.shape[-2:], axes, strict=True))
    return pool_windows(x, down, across)


def max_pool1d(x: torch.Tensor, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and indices of a max pool of rows [N, C, L] or [C, L]."""
    defaults: list[Any] = [[], [0], [1], False]
    kernel, stride, padding, dilation, ceil_mode = [*arguments, *defaults[len(arguments) - 1 :]]
    across = (pair(each)[-1] for each in (kernel, stride or kernel, padding, dilation))
    size, step, pad, gap = across
    values, indices = max_pool2d(x.unsqueeze(-2), [1, size], [1, step], [0, pad], [1, gap], ceil_mode)
    return values.squeeze(-2), indices.squeeze(-2)


def adaptive_max_pool(x: torch.Tensor, counts: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and flat indices of an adaptive max pool over the last one or two axes."""
    flat = len(counts) == 1
    maps = x.unsqueeze(-2) if flat else x
    tables = [
        adaptive_table(size, count)
        for size, count in zip(maps.shape[-2:], [1, *counts] if flat else counts, strict=True)
    ]
    values, indices = pool_windows(maps, tables[0], tables[1])
    return (values.squeeze(-2), indices.squeeze(-2)) if flat else (values, indices)


def pool_windows(x: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest element of each window of `x` [.., H, W], and its flat index row * W + column.

    `down` [h, k] holds the k rows that window i covers, `across` [w, l] its l columns.
    """
    lead, axis = list(x.shape[:-2]), x.ndim - 2
    # One axis after another: [.., h * k, W], then [.., h * k, w * l].
    taps = x.index_select(axis, down.reshape(-1)).index_select(axis + 1, across.reshape(-1))
    taps = taps.reshape(math.prod(lead), down.shape[0], down.shape[1], across.shape[0] * across.shape[1])
    # The maximum along each row of a window, then over the rows: the first of equal elements, row by row.
    by_row = taps.reshape(-1, across.shape[0], across.shape[1])
    tap_across = argmax(by_row, -1).reshape(-1, down.shape[0], down.shape[1], across.shape[0])
    best_of_rows = by_row.amax(-1).reshape(-1, down.shape[0], down.shape[1], across.shape[0])
    tap_down = argmax(best_of_rows, 2)
    shape = [*lead, down.shape[0], across.shape[0]]
    column = (tap_across * chosen(tap_down, down.shape[1])).sum(2)
    index = look_up(down, tap_down, 1) * x.shape[-1] + look_up(across, column, 0)
    return best_of_rows.amax(2).reshape(shape), index.reshape(shape)


@dataclass(frozen=True, slots=True)
class Axis:
    """The windows along one axis: how many, and stride, padding, kernel size and dilation."""

    count: int
    stride: int
    padding: int
    kernel: int
    dilation: int


def argmax(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the index of the first maximum. LiteRT cannot legalize the reduction of an axis with one element."""
    return x.argmax(axis) if x.shape[axis] > 1 else (x.select(axis, 0) * 0).long()


def window_table(size: int, axis: Axis) -> torch.Tensor:
    """Return [count, kernel]: the indices below `size` that each window covers; taps in the padding repeat others.

    Written with `aten.arange`: `run_decompositions` takes no constant tensors inside a decomposition.
    """
    import torch

    start = (torch.arange(axis.count) * axis.stride - axis.padding).unsqueeze(1)
    tap = torch.arange(axis.kernel)
    if axis.dilation == 1:
        return (start + tap).clamp(0, size - 1)
    first = divided_down(torch.clamp(-start, min=0) + axis.dilation - 1, axis.dilation)
    last = divided_down(size - 1 - start, axis.dilation)
    return start + torch.minimum(torch.maximum(tap, first), last) * axis.dilation


def adaptive_table(size: int, count: int) -> torch.Tensor:
    """Return [count, longest window]: the indices that each adaptive window covers; shorter ones repeat their last."""
    import torch

    ends = [(index * size // count, -(-(index + 1) * size // count)) for index in range(count)]
    number = torch.arange(count).unsqueeze(1) * size
    start, last = divided_down(number, count), divided_down(number + size - 1, count)
    return torch.minimum(start + torch.arange(max(end - begin for begin, end in ends)), last)


def divided_down(x: torch.Tensor, divisor: int) -> torch.Tensor:
    """Return x // divisor for integers below 2**22. The half keeps the quotient away from whole numbers.

    Not `aten.floor_divide`: coremltools 9.0 returns floats for it, which are no indices.
    """
    import torch

    return torch.floor((x.to(torch.float32) + 0.5) / divisor).to(torch.int64)


def chosen(tap: torch.Tensor, count: int) -> torch.Tensor:
    """Return [.., h, count, w]: 1 where the tap [.., h, w] has that number, 0 elsewhere."""
    import torch

    return (tap.unsqueeze(2) == torch.arange(count).reshape(1, 1, -1, 1)).to(torch.int64)


def look_up(table: torch.Tensor, tap: torch.Tensor, after: int) -> torch.Tensor:
    """Return `table[i, tap]` for taps [n, h, w], where i counts height (`after` 1) or width (`after` 0)."""
    import torch

    count, longest = table.shape
    place = torch.arange(count).reshape([-1] + [1] * after) * longest + tap
    return table.reshape(-1).index_select(0, place.reshape(-1)).reshape(tap.shape)
