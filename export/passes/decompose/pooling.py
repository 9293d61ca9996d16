"""Decompose pools: divisors, dilation, adaptive sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def avg_pool_divisor(program: ExportedProgram) -> DecompositionTable:
    """Average pools with a divisor of their own, as others times a number; those without stay."""
    import torch
    from torch.nn import functional as F

    def avg_pool2d(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        """`more` is what the op's schema goes on with: stride, padding, ceil_mode, count_include_pad, the divisor."""
        rest: list[Any] = [[], [0], False, True, None]
        stride, padding, ceil_mode, _, divisor = list(more) + rest[len(more) :]
        if divisor is None:
            return KEEP_OP
        steps, sides, taps = pair(stride or kernel), pair(padding), pair(kernel)
        size = windows_of(x, taps, steps, sides, ceil_mode)
        after = [max(0, (size[a] - 1) * steps[a] + taps[a] - x.shape[a - 2] - sides[a]) for a in (0, 1)]
        # Zeros all around, so that every window is whole and counts all its places.
        wide = F.pad(x, (sides[1], after[1], sides[0], after[0]))
        return F.avg_pool2d(wide, taps, steps) * (taps[0] * taps[1] / divisor)

    return {torch.ops.aten.avg_pool2d.default: avg_pool2d}


def dilated_max_pool(program: ExportedProgram) -> DecompositionTable:
    """Max pools whose kernel has gaps, as the maximum over shifted copies; other max pools stay."""
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
        gaps = pair(dilation)
        if gaps == [1, 1]:
            return KEEP_OP
        steps, sides, taps = pair(stride or kernel), pair(padding), pair(kernel)
        reach = [(taps[a] - 1) * gaps[a] + 1 for a in (0, 1)]
        size = windows_of(x, reach, steps, sides, ceil_mode)
        spans = [(size[a] - 1) * steps[a] + 1 for a in (0, 1)]
        after = [max(0, (taps[a] - 1) * gaps[a] + spans[a] - x.shape[a - 2] - sides[a]) for a in (0, 1)]
        wide = F.pad(x, (sides[1], after[1], sides[0], after[0]), value=-math.inf)
        best = None
        for row in range(taps[0]):
            for column in range(taps[1]):
                top, left = row * gaps[0], column * gaps[1]
                part = wide[..., top : top + spans[0] : steps[0], left : left + spans[1] : steps[1]]
                best = part if best is None else torch.maximum(best, part)
        assert best is not None
        return best

    return {torch.ops.aten.max_pool2d.default: max_pool2d}


def adaptive_max_pool(program: ExportedProgram) -> DecompositionTable:
    """Adaptive max pools of any sizes, as maxima over runs of rows, then of columns; nothing where indices are used."""
    import torch

    aten = torch.ops.aten
    targets = (aten.adaptive_max_pool2d.default, aten.adaptive_max_pool1d.default)
    nodes = [node for node in program.graph_module.graph.nodes if node.target in targets]
    if any(user.args[1] != 0 and user.users for node in nodes for user in node.users):
        return {}

    def adaptive_max_pool(x: torch.Tensor, made: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        for axis, count in zip(range(x.ndim - len(made), x.ndim), made, strict=True):
            size = x.shape[axis]
            runs = [(at * size // count, -(-(at + 1) * size // count)) for at in range(count)]
            x = torch.cat([x.narrow(axis, start, end - start).amax(axis, keepdim=True) for start, end in runs], axis)
        # Nobody reads the indices.
        return x, torch.zeros_like(x, dtype=torch.int64)

    return dict.fromkeys(targets, adaptive_max_pool)


def windows_of(x: torch.Tensor, reach: list[int], steps: list[int], sides: list[int], ceil: bool) -> list[int]:
    """How many windows there are by axis. In ceil mode one may hang over the end, but must begin inside."""
    found = []
    for size, extent, step, side in zip(x.shape[-2:], reach, steps, sides, strict=True):
        room = size + 2 * side - extent
        count = (-(-room // step) if ceil else room // step) + 1
        found.append(count - 1 if ceil and (count - 1) * step >= size + side else count)
    return found
