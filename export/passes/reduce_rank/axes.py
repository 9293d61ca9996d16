"""Ops of any number of axes by way of few: which axes an op treats alike, and a view of it with these as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP

if TYPE_CHECKING:
    import torch

Shape = Sequence[int]


def runs(patterns: Sequence[Any]) -> list[list[int]]:
    """Neighbouring axes of one pattern; axes of pattern None (of size one everywhere) are in none."""
    kept = [axis for axis, pattern in enumerate(patterns) if pattern is not None]
    return [list(group) for _, group in groupby(kept, key=lambda axis: patterns[axis])]


def neighbours(axes: Sequence[int]) -> list[list[int]]:
    """Sorted axes in runs of neighbours."""
    return [[axis for _, axis in group] for _, group in groupby(enumerate(axes), key=lambda pair: pair[1] - pair[0])]


def pointwise(op: Any, most: int, *args: Any, **kwargs: Any) -> Any:
    """Axes along which the same operands are repeated become one; where they are still too many, repeats are made."""
    import torch
    from torch.utils import _pytree

    flat, spec = _pytree.tree_flatten((args, kwargs))
    places = [place for place, value in enumerate(flat) if isinstance(value, torch.Tensor)]
    shape = torch.broadcast_shapes(*(flat[place].shape for place in places))
    shapes = [[1] * (len(shape) - flat[place].ndim) + list(flat[place].shape) for place in places]
    patterns = [tuple(own[axis] == 1 for own in shapes) if size != 1 else None for axis, size in enumerate(shape)]
    groups = runs(patterns)
    if len(groups) > most:
        shapes = [list(shape) for _ in places]
        groups = [list(range(len(shape)))]
    for place, own in zip(places, shapes, strict=True):
        value = flat[place] if math.prod(own) == flat[place].numel() else stretched(flat[place], shape)
        flat[place] = value.reshape([math.prod(own[axis] for axis in group) for group in groups] or [1])
    args, kwargs = _pytree.tree_unflatten(flat, spec)
    return op(*args, **kwargs).reshape(shape)


def stretched(x: torch.Tensor, shape: Shape) -> torch.Tensor:
    """`x` repeated to `shape`, by tensors of three axes, a run of repeated axes at a time."""
    own = [1] * (len(shape) - x.ndim) + list(x.shape)
    for group in neighbours([axis for axis, size in enumerate(own) if size != shape[axis]]):
        first, last = group[0], group[-1] + 1
        before, times, after = math.prod(own[:first]), math.prod(shape[first:last]), math.prod(own[last:])
        x = x.reshape(before, 1, after).expand(before, times, after)
        own[first:last] = list(shape[first:last])
    return x.reshape(tuple(shape))


def expanded(x: torch.Tensor, size: Shape, *, implicit: bool = False) -> torch.Tensor:
    own = [1] * (len(size) - x.ndim) + list(x.shape)
    return stretched(x, [before if wanted == -1 else wanted for before, wanted in zip(own, size, strict=True)])


def repeated(x: torch.Tensor, repeats: Shape) -> torch.Tensor:
    own = [1] * (len(repeats) - x.ndim) + list(x.shape)
    for axis, times in enumerate(repeats):
        before, after = math.prod(own[:axis]), math.prod(own[axis:])
        if times != 1:
            x = x.reshape(before, 1, after).expand(before, times, after)
        own[axis] *= times
    return x.reshape(own)


def along(op: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """An op of one axis, with the axes before it as one and those after it as one."""
    import torch

    rest = op._schema.arguments[1:]
    given = {argument.name: argument.default_value for argument in rest if argument.name == "dim"}
    given |= dict(zip((argument.name for argument in rest), args, strict=False)) | kwargs
    if given["dim"] is None:
        return KEEP_OP
    axis = given["dim"] % x.ndim
    before, after = list(x.shape[:axis]), list(x.shape[axis + 1 :])
    done = op(x.reshape(math.prod(before), x.shape[axis], math.prod(after)), **given | {"dim": 1})

    def shaped(part: torch.Tensor) -> torch.Tensor:
        return part.reshape([*before, *part.shape[1:-1], *after])

    return shaped(done) if isinstance(done, torch.Tensor) else [shaped(part) for part in done]


def reduced(op: Any, x: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """A reduction, a run of axes after another."""
    import torch

    axes = [dim % x.ndim] if isinstance(dim, int) else sorted(axis % x.ndim for axis in dim or range(x.ndim))
    shape = list(x.shape)
    for first, last in reversed([(group[0], group[-1] + 1) for group in neighbours(axes)]):
        flat = x.reshape(math.prod(shape[:first]), math.prod(shape[first:last]), -1)
        x = op(flat, 1 if isinstance(dim, int) else [1], **kwargs)
        if not isinstance(x, torch.Tensor):
            if len(axes) > 1:
                return KEEP_OP
            made = [size if axis not in axes else 1 for axis, size in enumerate(shape) if keepdim or axis not in axes]
            return tuple(part.reshape(made) for part in x)
    return x.reshape([1 if axis in axes else size for axis, size in enumerate(shape) if keepdim or axis not in axes])


def of_all(op: Any, x: torch.Tensor, **kwargs: Any) -> Any:
    """A reduction of a whole tensor."""
    return op(x.reshape(-1), **kwargs)


def turned(most: int, x: torch.Tensor, *dims: Any) -> torch.Tensor:
    """A permutation of the groups of axes that stay together; swaps of two neighbours where they are too many."""
    if len(dims) == 2:  # transpose
        order = list(range(x.ndim))
        first, second = (axis % x.ndim for axis in dims)
        order[first], order[second] = order[second], order[first]
    else:
        order = [axis % x.ndim for axis in dims[0]]
    wanted = [x.shape[axis] for axis in order]
    kept = [axis for axis in order if x.shape[axis] != 1]
    ranks = {axis: rank for rank, axis in enumerate(sorted(kept))}
    groups = neighbours([ranks[axis] for axis in kept])
    sizes = {rank: x.shape[axis] for axis, rank in ranks.items()}
    lengths = {group[0]: math.prod(sizes[rank] for rank in group) for group in groups}
    now, target = sorted(lengths), [group[0] for group in groups]
    if len(now) <= most:
        x = x.reshape([lengths[name] for name in now] or [1])
        return x.permute([now.index(name) for name in target] or [0]).reshape(wanted)
    for place, name in enumerate(target):
        at = now.index(name)
        if at != place:
            cuts = (now[:place], now[place:at], [name], now[at + 1 :])
            x = x.reshape([math.prod(lengths[each] for each in cut) for cut in cuts]).permute(0, 2, 1, 3)
            now = [*cuts[0], name, *cuts[1], *cuts[3]]
    return x.reshape(wanted)
