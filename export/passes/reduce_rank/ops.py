"""Compute single ops on tensors of any rank by tensors of few axes; most work along one axis at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP
from export.passes.reduce_rank.axes import Shape, expand_to

if TYPE_CHECKING:
    import torch


def cat(tensors: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    import torch

    axis = dim % tensors[0].ndim
    before, after = list(tensors[0].shape[:axis]), list(tensors[0].shape[axis + 1 :])
    parts = [x.reshape(math.prod(before), x.shape[axis], math.prod(after)) for x in tensors]
    return torch.cat(parts, 1).reshape([*before, -1, *after])


def stack(tensors: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    axis = dim % (tensors[0].ndim + 1)
    shape = list(tensors[0].shape)
    return cat([x.reshape([*shape[:axis], 1, *shape[axis:]]) for x in tensors], axis)


def flip(x: torch.Tensor, dims: Shape) -> torch.Tensor:
    import torch

    shape = x.shape
    for axis in (dim % len(shape) for dim in dims):
        x = torch.flip(x.reshape(math.prod(shape[:axis]), shape[axis], -1), [1])
    return x.reshape(shape)


def roll(x: torch.Tensor, shifts: Shape, dims: Shape = ()) -> Any:
    import torch

    if not dims:
        return KEEP_OP
    shape = x.shape
    for shift, axis in zip(shifts, (dim % len(shape) for dim in dims), strict=True):
        x = torch.roll(x.reshape(math.prod(shape[:axis]), shape[axis], -1), shift, 1)
    return x.reshape(shape)


def constant_pad(x: torch.Tensor, widths: Shape, value: float = 0) -> torch.Tensor:
    from torch.nn import functional as F

    shape = list(x.shape)
    # `widths` begins with the last axis.
    for i in range(len(widths) // 2):
        axis, both = len(shape) - 1 - i, widths[2 * i : 2 * i + 2]
        if any(both):
            x = F.pad(x.reshape(math.prod(shape[:axis]), shape[axis], -1), (0, 0, *both), value=value)
            shape[axis] += sum(both)
    return x.reshape(shape)


def pad(x: torch.Tensor, widths: Shape, mode: str = "constant", value: float | None = None) -> Any:
    return constant_pad(x, widths, value or 0) if mode == "constant" else KEEP_OP


def index_select(x: torch.Tensor, indices: Sequence[torch.Tensor | None]) -> Any:
    """Compute `aten.index` with one integer index, along one axis."""
    import torch

    axes = [axis for axis, index in enumerate(indices) if index is not None]
    index = indices[axes[0]]
    if len(axes) != 1 or index is None or index.dtype == torch.bool:
        return KEEP_OP
    before, after = x.shape[: axes[0]], x.shape[axes[0] + 1 :]
    flat = x.reshape(math.prod(before), x.shape[axes[0]], math.prod(after))
    # `aten.index` counts negative indices from the end, `aten.index_select` does not take them.
    index = torch.where(index < 0, index + flat.shape[1], index)
    return torch.index_select(flat, 1, index.reshape(-1)).reshape([*before, *index.shape, *after])


def gather(x: torch.Tensor, dim: int, index: torch.Tensor, *, sparse_grad: bool = False) -> Any:
    import torch

    axis, shape = dim % x.ndim, list(index.shape)
    if [*x.shape[:axis], *x.shape[axis + 1 :]] != [*shape[:axis], *shape[axis + 1 :]]:
        return KEEP_OP
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    flat = [each.reshape(before, each.shape[axis], after) for each in (x, index)]
    return torch.gather(flat[0], 1, flat[1]).reshape(shape)


def var(
    x: torch.Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> torch.Tensor:
    axes = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    correction = (1 if unbiased is not False else 0) if correction is None else correction
    centred = x - x.mean(axes, keepdim=True)
    return (centred * centred).sum(axes, keepdim=keepdim) / (math.prod(x.shape[axis] for axis in axes) - correction)


def std(*args: Any, **kwargs: Any) -> torch.Tensor:
    return var(*args, **kwargs).sqrt()


def vector_norm(x: torch.Tensor, power: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    axes = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if dtype is not None or power not in (1, 2, math.inf):
        return KEEP_OP
    if power == 2:
        return (x * x).sum(axes, keepdim=keepdim).sqrt()
    return x.abs().sum(axes, keepdim=keepdim) if power == 1 else x.abs().amax(axes, keepdim=keepdim)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    from torch.nn import functional as F

    return F.linear(x.reshape(-1, x.shape[-1]), weight, bias).reshape([*x.shape[:-1], weight.shape[0]])


def matmul(x: torch.Tensor, y: torch.Tensor) -> Any:
    import torch

    if min(x.ndim, y.ndim) < 2:
        return KEEP_OP
    if y.ndim == 2:
        return (x.reshape(-1, x.shape[-1]) @ y).reshape([*x.shape[:-1], y.shape[-1]])
    batch = list(torch.broadcast_shapes(x.shape[:-2], y.shape[:-2]))
    parts = [expand_to(each, [*batch, *each.shape[-2:]]).reshape(-1, *each.shape[-2:]) for each in (x, y)]
    return torch.bmm(*parts).reshape([*batch, x.shape[-2], y.shape[-1]])


def layer_norm(
    x: torch.Tensor,
    normalized_shape: Shape,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> torch.Tensor:
    from torch.nn import functional as F

    size = math.prod(normalized_shape)
    weight, bias = (each if each is None else each.reshape(size) for each in (weight, bias))
    return F.layer_norm(x.reshape(-1, size), [size], weight, bias, eps).reshape(x.shape)
