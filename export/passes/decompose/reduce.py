"""Pairs of moments, running products, and what is asked of a whole tensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    return running() | moments()


def running() -> DecompositionTable:
    """Running products: every step joins what lies 1, 2, 4, ... places before (Hillis and Steele 1986)."""
    import torch

    def cumprod(x: torch.Tensor, dim: int, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        x = x if dtype is None else x.to(dtype)
        size, reach = x.shape[dim], 1
        while reach < size:
            shape = list(x.shape)
            shape[dim] = reach
            ones = torch.full(shape, 1, dtype=x.dtype)
            x = x * torch.cat([ones, x.narrow(dim, 0, size - reach)], dim)
            reach *= 2
        return x

    return {torch.ops.aten.cumprod.default: cumprod}


def moments() -> DecompositionTable:
    """Pairs of moments, and what is asked of a whole tensor."""
    import torch

    def var_mean(
        x: torch.Tensor, dim: list[int] | None = None, *, correction: float | None = None, keepdim: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        axes = list(range(x.ndim)) if dim is None else dim
        mean = x.mean(axes, keepdim=True)
        count = math.prod(x.shape[axis] for axis in axes)
        # coremltools takes a sum divided by about the number of its terms for their mean.
        factor = count / (count - (1 if correction is None else correction))
        var = (x - mean).square().mean(axes, keepdim=keepdim) * factor
        return var, mean if keepdim else x.mean(axes)

    def std_mean(x: torch.Tensor, dim: list[int] | None = None, **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
        var, mean = var_mean(x, dim, **more)
        return var.sqrt(), mean

    def unbiased(pair: Any) -> Any:
        """The older form of the op, with a flag for a correction of one."""
        return lambda x, dim, flag=True, keepdim=False: pair(x, dim, correction=int(flag), keepdim=keepdim)

    aten = torch.ops.aten
    return {
        aten.var_mean.correction: var_mean,
        aten.std_mean.correction: std_mean,
        aten.var_mean.dim: unbiased(var_mean),
        aten.std_mean.dim: unbiased(std_mean),
        aten.prod.default: lambda x, *, dtype=None: x.reshape(-1).prod(0, dtype=dtype),
        aten.argmax.default: whole(torch.argmax),
        aten.argmin.default: whole(torch.argmin),
    }


def whole(extreme: Any) -> Any:
    """arg-max and arg-min over all values; those along an axis stay."""

    def found(x: torch.Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is not None:
            return KEEP_OP
        place = extreme(x.reshape(-1), 0)
        return place.reshape([1] * x.ndim) if keepdim else place

    return found
