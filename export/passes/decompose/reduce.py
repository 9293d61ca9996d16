"""Decompose reductions over whole tensors, pairs of moments and cumulative products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.cumprod`, `aten.var_mean`, `aten.std_mean`, `aten.dist` and reductions of a whole tensor.

    These are `prod`, `argmax`, `argmin`, `amax` and `amin`.
    """
    return cumprod() | moments() | whole_tensor() | extremes_of_all(program) | distance()


def cumprod() -> DecompositionTable:
    """Decompose `aten.cumprod` into log2(n) products with shifted copies (Hillis and Steele 1986)."""
    import torch

    def scan(x: torch.Tensor, dim: int, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        x = x if dtype is None else x.to(dtype)
        size, shift = x.shape[dim], 1
        while shift < size:
            shape = list(x.shape)
            shape[dim] = shift
            ones = torch.full(shape, 1, dtype=x.dtype)
            x = x * torch.cat([ones, x.narrow(dim, 0, size - shift)], dim)
            shift *= 2
        return x

    return {torch.ops.aten.cumprod.default: scan}


def prod_by_halves(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.prod` over an axis into log2(n) products of its halves."""
    import torch

    def prod(x: torch.Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        x = x if dtype is None else x.to(dtype)
        while (size := x.shape[dim]) > 1:
            half = size // 2
            rest = [x.narrow(dim, 2 * half, 1)] if size % 2 else []
            x = torch.cat([x.narrow(dim, 0, half) * x.narrow(dim, half, half), *rest], dim)
        return x if keepdim else x.squeeze(dim)

    return {torch.ops.aten.prod.dim_int: prod}


def moments() -> DecompositionTable:
    """Decompose `aten.var_mean` and `aten.std_mean` into means; `correction` defaults to 1 (Bessel)."""
    import torch

    def var_mean(
        x: torch.Tensor, dim: list[int] | None = None, *, correction: float | None = None, keepdim: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        axes = list(range(x.ndim)) if dim is None else dim
        mean = x.mean(axes, keepdim=True)
        count = math.prod(x.shape[axis] for axis in axes)
        # Not a sum divided by count - correction: coremltools fuses a sum and a division by about count into a mean.
        factor = count / (count - (1 if correction is None else correction))
        var = (x - mean).square().mean(axes, keepdim=keepdim) * factor
        return var, mean if keepdim else x.mean(axes)

    def std_mean(x: torch.Tensor, dim: list[int] | None = None, **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
        var, mean = var_mean(x, dim, **more)
        return var.sqrt(), mean

    def with_unbiased_flag(op: Any) -> Any:
        """Return the older overload, whose `unbiased` flag means a correction of 1."""
        return lambda x, dim, flag=True, keepdim=False: op(x, dim, correction=int(flag), keepdim=keepdim)

    aten = torch.ops.aten
    return {
        aten.var_mean.correction: var_mean,
        aten.std_mean.correction: std_mean,
        aten.var_mean.dim: with_unbiased_flag(var_mean),
        aten.std_mean.dim: with_unbiased_flag(std_mean),
    }


def whole_tensor() -> DecompositionTable:
    """Decompose `aten.prod`, `aten.argmax` and `aten.argmin` without a `dim` into the op on a flat tensor."""
    import torch

    def arg_extreme(op: Any) -> Any:
        def flat(x: torch.Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
            if dim is not None:
                return KEEP_OP
            index = op(x.reshape(-1), 0)
            return index.reshape([1] * x.ndim) if keepdim else index

        return flat

    aten = torch.ops.aten
    return {
        aten.prod.default: lambda x, *, dtype=None: x.reshape(-1).prod(0, dtype=dtype),
        aten.argmax.default: arg_extreme(torch.argmax),
        aten.argmin.default: arg_extreme(torch.argmin),
    }


def extremes_of_all(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.amax` and `aten.amin` without axes into reductions of a flat tensor, for the ONNX exporter.

    coremltools 9.0 gives their result an axis of size one. `aten.aminmax` becomes both. Empty where the program has no
    reduction without axes.
    """
    import torch

    aten = torch.ops.aten

    def extreme(op: Any) -> Any:
        def flat(x: torch.Tensor, dim: list[int] | tuple[int, ...] = (), keepdim: bool = False) -> Any:
            if dim:
                return KEEP_OP
            return op(x.reshape(-1), [0]).reshape([1] * x.ndim if keepdim else [])

        return flat

    def aminmax(x: torch.Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        axes = [] if dim is None else [dim]
        return torch.amin(x, axes, keepdim), torch.amax(x, axes, keepdim)

    targets = (aten.amax.default, aten.amin.default)
    nodes = program.graph_module.graph.nodes
    without_axes = any(node.target in targets and not (len(node.args) > 1 and node.args[1]) for node in nodes)
    needed = without_axes or any(node.target is aten.aminmax.default for node in nodes)
    return {target: extreme(target) for target in targets} | {aten.aminmax.default: aminmax} if needed else {}


def distance() -> DecompositionTable:
    """Decompose `aten.dist` into the norm of a difference."""
    import torch

    return {torch.ops.aten.dist.default: lambda x, y, p=2: torch.linalg.vector_norm(x - y, float(p))}
