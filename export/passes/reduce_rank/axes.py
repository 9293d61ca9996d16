"""Compute ops on tensors of any rank by tensors of few axes: join the axes that an op treats alike into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP

if TYPE_CHECKING:
    import torch

Shape = Sequence[int]


def group_by_pattern(patterns: Sequence[Any]) -> list[list[int]]:
    """Group neighbouring axes of equal pattern. Axes of pattern None (of size one in every operand) are left out."""
    kept = [axis for axis, pattern in enumerate(patterns) if pattern is not None]
    return [list(group) for _, group in groupby(kept, key=lambda axis: patterns[axis])]


def group_consecutive(axes: Sequence[int]) -> list[list[int]]:
    """Group sorted axes into runs of consecutive ones."""
    return [[axis for _, axis in group] for _, group in groupby(enumerate(axes), key=lambda pair: pair[1] - pair[0])]


def pointwise(op: Any, most: int, *args: Any, **kwargs: Any) -> Any:
    """Compute an elementwise op after joining the axes along which the same operands broadcast.

    Where that leaves more than `most` axes, the operands are expanded and flattened.
    """
    import torch
    from torch.utils import _pytree

    flat, spec = _pytree.tree_flatten((args, kwargs))
    positions = [position for position, value in enumerate(flat) if isinstance(value, torch.Tensor)]
    shape = torch.broadcast_shapes(*(flat[position].shape for position in positions))
    shapes = [[1] * (len(shape) - flat[position].ndim) + list(flat[position].shape) for position in positions]
    patterns = [tuple(sizes[axis] == 1 for sizes in shapes) if size != 1 else None for axis, size in enumerate(shape)]
    groups = group_by_pattern(patterns)
    if len(groups) > most:
        shapes = [list(shape) for _ in positions]
        groups = [list(range(len(shape)))]
    for position, sizes in zip(positions, shapes, strict=True):
        operand = flat[position]
        operand = operand if math.prod(sizes) == operand.numel() else expand_to(operand, shape)
        flat[position] = operand.reshape([math.prod(sizes[axis] for axis in group) for group in groups] or [1])
    args, kwargs = _pytree.tree_unflatten(flat, spec)
    return op(*args, **kwargs).reshape(shape)


def expand_to(x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Expand `x` to `shape` by tensors of rank 3, one run of expanded axes after another."""
    sizes = [1] * (len(shape) - x.ndim) + list(x.shape)
    for group in group_consecutive([axis for axis, size in enumerate(sizes) if size != shape[axis]]):
        first, last = group[0], group[-1] + 1
        before, times, after = math.prod(sizes[:first]), math.prod(shape[first:last]), math.prod(sizes[last:])
        x = x.reshape(before, 1, after).expand(before, times, after)
        sizes[first:last] = list(shape[first:last])
    return x.reshape(tuple(shape))


def expand(x: torch.Tensor, size: Shape, *, implicit: bool = False) -> torch.Tensor:
    sizes = [1] * (len(size) - x.ndim) + list(x.shape)
    return expand_to(x, [before if after == -1 else after for before, after in zip(sizes, size, strict=True)])


def repeat(x: torch.Tensor, repeats: Shape) -> torch.Tensor:
    sizes = [1] * (len(repeats) - x.ndim) + list(x.shape)
    for axis, times in enumerate(repeats):
        before, after = math.prod(sizes[:axis]), math.prod(sizes[axis:])
        if times != 1:
            x = x.reshape(before, 1, after).expand(before, times, after)
        sizes[axis] *= times
    return x.reshape(sizes)


def along_one_axis(op: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Compute an op of one axis `dim` on a tensor of rank 3: the axes before, the axis, the axes after."""
    import torch

    rest = op._schema.arguments[1:]
    given = {argument.name: argument.default_value for argument in rest if argument.name == "dim"}
    given |= dict(zip((argument.name for argument in rest), args, strict=False)) | kwargs
    if given["dim"] is None:
        return KEEP_OP
    axis = given["dim"] % x.ndim
    before, after = list(x.shape[:axis]), list(x.shape[axis + 1 :])
    output = op(x.reshape(math.prod(before), x.shape[axis], math.prod(after)), **given | {"dim": 1})

    def restore(part: torch.Tensor) -> torch.Tensor:
        return part.reshape([*before, *part.shape[1:-1], *after])

    return restore(output) if isinstance(output, torch.Tensor) else [restore(part) for part in output]


def reduce_axes(op: Any, x: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """Reduce one run of consecutive axes after another."""
    import torch

    axes = [dim % x.ndim] if isinstance(dim, int) else sorted(axis % x.ndim for axis in dim or range(x.ndim))
    shape = list(x.shape)
    for first, last in reversed([(group[0], group[-1] + 1) for group in group_consecutive(axes)]):
        flat = x.reshape(math.prod(shape[:first]), math.prod(shape[first:last]), -1)
        x = op(flat, 1 if isinstance(dim, int) else [1], **kwargs)
        if not isinstance(x, torch.Tensor):
            if len(axes) > 1:
                return KEEP_OP
            kept = [size if axis not in axes else 1 for axis, size in enumerate(shape) if keepdim or axis not in axes]
            return tuple(part.reshape(kept) for part in x)
    return x.reshape([1 if axis in axes else size for axis, size in enumerate(shape) if keepdim or axis not in axes])


def reduce_all(op: Any, x: torch.Tensor, **kwargs: Any) -> Any:
    """Reduce a whole tensor as one axis."""
    return op(x.reshape(-1), **kwargs)


def permute(most: int, x: torch.Tensor, *dims: Any) -> torch.Tensor:
    """Permute groups of axes that stay together; where they are more than `most`, swap two groups at a time."""
    if len(dims) == 2:  # transpose
        order = list(range(x.ndim))
        first, second = (axis % x.ndim for axis in dims)
        order[first], order[second] = order[second], order[first]
    else:
        order = [axis % x.ndim for axis in dims[0]]
    shape = [x.shape[axis] for axis in order]
    kept = [axis for axis in order if x.shape[axis] != 1]
    ranks = {axis: rank for rank, axis in enumerate(sorted(kept))}
    groups = group_consecutive([ranks[axis] for axis in kept])
    sizes = {rank: x.shape[axis] for axis, rank in ranks.items()}
    # A group is named by its first axis.
    lengths = {group[0]: math.prod(sizes[rank] for rank in group) for group in groups}
    current, target = sorted(lengths), [group[0] for group in groups]
    if len(current) <= most:
        x = x.reshape([lengths[name] for name in current] or [1])
        return x.permute([current.index(name) for name in target] or [0]).reshape(shape)
    for position, name in enumerate(target):
        at = current.index(name)
        if at != position:
            cuts = (current[:position], current[position:at], [name], current[at + 1 :])
            x = x.reshape([math.prod(lengths[group] for group in cut) for cut in cuts]).permute(0, 2, 1, 3)
            current = [*cuts[0], name, *cuts[1], *cuts[3]]
    return x.reshape(shape)
