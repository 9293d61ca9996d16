"""Decompose elementwise ops, and arguments of elementwise ops that converters drop, misread or refuse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `fmax`, `fmin`, `copysign`, `atan2`, `logical_xor`, `ldexp`, `signbit`, `isclose`, `round(decimals)`,
    `erfc` and the dropouts of SELU nets (`alpha_dropout`), which are the identity in evaluation mode.

    `copysign` ignores the sign of -0.0, which no format's comparison sees.
    """
    import torch

    def fmax(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(x != x, y, torch.where(y != y, x, torch.maximum(x, y)))

    def fmin(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(x != x, y, torch.where(y != y, x, torch.minimum(x, y)))

    def copysign(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
        magnitude = torch.abs(x)
        if not isinstance(y, torch.Tensor):
            return magnitude * math.copysign(1.0, y)
        return torch.where(y < 0, -magnitude, magnitude)

    def isclose(
        x: torch.Tensor, y: torch.Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
    ) -> Any:
        if equal_nan or not x.is_floating_point():
            return KEEP_OP
        return (torch.abs(x - y) <= atol + rtol * torch.abs(y)) | (x == y)

    def round_decimals(x: torch.Tensor, *, decimals: int) -> torch.Tensor:
        unit = 10.0**decimals
        return torch.round(x * unit) / unit

    def atan2(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        # Holds for x = 0 and y = 0 too, where the converters' own decompositions divide by zero or lose the sign.
        vertical = x == 0
        slope = torch.atan(y / torch.where(vertical, torch.ones_like(x), x))
        turn = torch.where(y < 0, torch.full_like(y, -math.pi), torch.full_like(y, math.pi))
        return torch.where(vertical, torch.sign(y) * (math.pi / 2), torch.where(x < 0, slope + turn, slope))

    def dropout(x: torch.Tensor, p: float, train: bool) -> Any:
        return KEEP_OP if train else x

    aten = torch.ops.aten
    return {
        aten.alpha_dropout.default: dropout,
        aten.feature_alpha_dropout.default: dropout,
        aten.fmax.default: fmax,
        aten.fmin.default: fmin,
        aten.copysign.Tensor: copysign,
        aten.copysign.Scalar: copysign,
        aten.atan2.default: atan2,
        aten.logical_xor.default: lambda x, y: x.to(torch.bool) != y.to(torch.bool),
        aten.ldexp.Tensor: lambda x, y: x * torch.exp2(y),
        aten.signbit.default: lambda x: x < 0,
        aten.isclose.default: isclose,
        aten.round.decimals: round_decimals,
        aten.special_erfc.default: lambda x: 1 - torch.erf(x),
        aten.erfc.default: lambda x: 1 - torch.erf(x),
    }


def sums_of_exponentials(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.logaddexp` and `aten.logaddexp2` into the larger operand plus a logarithm of at most 2."""
    import torch

    def distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Infinite operands are 0 apart, not NaN.
        return torch.where(x == y, torch.zeros_like(x), torch.abs(x - y))

    def logaddexp(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # exp(x) + exp(y) would overflow at 89.
        return torch.maximum(x, y) + torch.log1p(torch.exp(-distance(x, y)))

    def logaddexp2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.maximum(x, y) + torch.log1p(torch.exp2(-distance(x, y))) / math.log(2)

    aten = torch.ops.aten
    return {aten.logaddexp.default: logaddexp, aten.logaddexp2.default: logaddexp2}


def arithmetic(program: ExportedProgram) -> DecompositionTable:
    """Decompose `trunc`, `fmod`, `hypot`, `isfinite`, `lerp`, `log_sigmoid` and `float_power` into common ops.

    PyTorch's own decompositions of these ops use `prims` and tensors of rank 0, which converters do not know.
    """
    import torch
    from torch.nn import functional as F

    def trunc(x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * torch.floor(torch.abs(x))

    def fmod(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
        return x - trunc(x / y) * y

    aten = torch.ops.aten
    return {
        aten.trunc.default: trunc,
        aten.fmod.Scalar: fmod,
        aten.fmod.Tensor: fmod,
        aten.hypot.default: lambda x, y: torch.sqrt(x * x + y * y),
        # False for NaN as well: NaN compares as False with everything.
        aten.isfinite.default: lambda x: torch.abs(x) < math.inf,
        aten.lerp.Scalar: lambda x, y, weight: x + weight * (y - x),
        aten.lerp.Tensor: lambda x, y, weight: x + weight * (y - x),
        aten.log_sigmoid.default: lambda x: -F.softplus(-x),
        aten.float_power.Tensor_Scalar: lambda x, power: torch.pow(x.double(), power),
    }


def inverse_hyperbolic(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.asinh` and `aten.acosh` into logarithms and square roots.

    asinh is computed of |x|, with the sign of x: for negative x the formula would cancel.
    """
    import torch

    def asinh(x: torch.Tensor) -> torch.Tensor:
        magnitude = torch.abs(x)
        return torch.sign(x) * torch.log(magnitude + torch.sqrt(magnitude * magnitude + 1))

    aten = torch.ops.aten
    return {aten.asinh.default: asinh, aten.acosh.default: lambda x: torch.log(x + torch.sqrt(x * x - 1))}


def nan_to_num(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.nan_to_num` into three `aten.where`."""
    import torch

    def replace(
        x: torch.Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
    ) -> torch.Tensor:
        limits = torch.finfo(x.dtype)
        x = torch.where(x != x, 0.0 if nan is None else nan, x)
        x = torch.where(x == math.inf, limits.max if posinf is None else posinf, x)
        return torch.where(x == -math.inf, limits.min if neginf is None else neginf, x)

    return {torch.ops.aten.nan_to_num.default: replace}


def add_alpha(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.add(x, y, alpha=a)` and `aten.sub` into x ± y * a. Empty where every alpha is 1."""
    import torch

    aten = torch.ops.aten

    def add(x: torch.Tensor, y: torch.Tensor | float, *, alpha: float = 1) -> Any:
        return KEEP_OP if alpha == 1 else x + y * alpha

    def sub(x: torch.Tensor, y: torch.Tensor | float, *, alpha: float = 1) -> Any:
        return KEEP_OP if alpha == 1 else x - y * alpha

    table: DecompositionTable = {
        aten.add.Tensor: add,
        aten.sub.Tensor: sub,
        aten.add_.Tensor: add,
        aten.sub_.Tensor: sub,
    }
    nodes = program.graph_module.graph.nodes
    return table if any(node.target in table and node.kwargs.get("alpha", 1) != 1 for node in nodes) else {}


def float_clamp_bounds(program: ExportedProgram) -> DecompositionTable:
    """Write int bounds of `aten.clamp`, `aten.hardtanh` and `aten.threshold` of float tensors as floats.

    Empty where no node has an int bound.
    """
    import torch

    aten = torch.ops.aten
    targets = (aten.clamp.default, aten.hardtanh.default, aten.threshold.default)

    def with_float_bounds(target: Any) -> Any:
        def rewrite(x: torch.Tensor, *bounds: Any) -> Any:
            if not x.is_floating_point() or not any(isinstance(bound, int) for bound in bounds):
                return KEEP_OP
            return target(x, *(None if bound is None else float(bound) for bound in bounds))

        return rewrite

    nodes = [node for node in program.graph_module.graph.nodes if node.target in targets]
    needed = any(isinstance(bound, int) for node in nodes for bound in node.args[1:])
    return {target: with_float_bounds(target) for target in targets} if needed else {}
