"""Elementwise ops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Elementwise ops."""
    import torch

    def fmax(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(x != x, y, torch.where(y != y, x, torch.maximum(x, y)))

    def fmin(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(x != x, y, torch.where(y != y, x, torch.minimum(x, y)))

    def copysign(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
        # Not the sign of -0.0, which no format's comparison sees.
        size = torch.abs(x)
        if not isinstance(y, torch.Tensor):
            return size * math.copysign(1.0, y)
        return torch.where(y < 0, -size, size)

    def logical_xor(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x.to(torch.bool) != y.to(torch.bool)

    def isclose(
        x: torch.Tensor, y: torch.Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
    ) -> Any:
        if equal_nan or not x.is_floating_point():
            return KEEP_OP
        return (torch.abs(x - y) <= atol + rtol * torch.abs(y)) | (x == y)

    def rounded(x: torch.Tensor, *, decimals: int) -> torch.Tensor:
        unit = 10.0**decimals
        return torch.round(x * unit) / unit

    def atan2(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        # On both axes too, where converters' own spellings divide by nothing or know no sign.
        upright = x == 0
        slope = torch.atan(y / torch.where(upright, torch.ones_like(x), x))
        turn = torch.where(y < 0, torch.full_like(y, -math.pi), torch.full_like(y, math.pi))
        return torch.where(upright, torch.sign(y) * (math.pi / 2), torch.where(x < 0, slope + turn, slope))

    def resting(x: torch.Tensor, p: float, train: bool) -> Any:
        return KEEP_OP if train else x

    aten = torch.ops.aten
    return {
        aten.alpha_dropout.default: resting,
        aten.feature_alpha_dropout.default: resting,
        aten.fmax.default: fmax,
        aten.fmin.default: fmin,
        aten.copysign.Tensor: copysign,
        aten.copysign.Scalar: copysign,
        aten.atan2.default: atan2,
        aten.logical_xor.default: logical_xor,
        aten.ldexp.Tensor: lambda x, y: x * torch.exp2(y),
        aten.signbit.default: lambda x: x < 0,
        aten.isclose.default: isclose,
        aten.round.decimals: rounded,
        aten.special_erfc.default: lambda x: 1 - torch.erf(x),
        aten.erfc.default: lambda x: 1 - torch.erf(x),
    }


def arithmetic(program: ExportedProgram) -> DecompositionTable:
    """Elementwise ops that PyTorch would decompose into what converters do not know: `prims`, tensors of no axes."""
    import torch
    from torch.nn import functional as F

    def trunc(x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * torch.floor(torch.abs(x))

    def fmod(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
        return x - trunc(x / y) * y

    def hypot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(x * x + y * y)

    def isfinite(x: torch.Tensor) -> torch.Tensor:
        # Not a number compares as false with everything.
        return torch.abs(x) < math.inf

    aten = torch.ops.aten
    return {
        aten.trunc.default: trunc,
        aten.fmod.Scalar: fmod,
        aten.fmod.Tensor: fmod,
        aten.hypot.default: hypot,
        aten.isfinite.default: isfinite,
        aten.lerp.Scalar: lambda x, y, share: x + share * (y - x),
        aten.lerp.Tensor: lambda x, y, share: x + share * (y - x),
        aten.log_sigmoid.default: lambda x: -F.softplus(-x),
        aten.float_power.Tensor_Scalar: lambda x, power: torch.pow(x.double(), power),
    }


def nan_to_num(program: ExportedProgram) -> DecompositionTable:
    """nan_to_num, as three selections."""
    import torch

    def nan_to_num(
        x: torch.Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
    ) -> torch.Tensor:
        limits = torch.finfo(x.dtype)
        x = torch.where(x != x, 0.0 if nan is None else nan, x)
        x = torch.where(x == math.inf, limits.max if posinf is None else posinf, x)
        return torch.where(x == -math.inf, limits.min if neginf is None else neginf, x)

    return {torch.ops.aten.nan_to_num.default: nan_to_num}


def add_alpha(program: ExportedProgram) -> DecompositionTable:
    """Sums and differences whose second operand has a factor; nothing where no node of the program has one."""
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
    """Bounds of floats as floats; nothing where no node of the program writes one as a whole number."""
    import torch

    aten = torch.ops.aten
    targets = (aten.clamp.default, aten.hardtanh.default, aten.threshold.default)

    def rewrite(target: Any) -> Any:
        def with_floats(x: torch.Tensor, *bounds: Any) -> Any:
            if not x.is_floating_point() or not any(isinstance(bound, int) for bound in bounds):
                return KEEP_OP
            return target(x, *(None if bound is None else float(bound) for bound in bounds))

        return with_floats

    nodes = [node for node in program.graph_module.graph.nodes if node.target in targets]
    whole = any(isinstance(bound, int) for node in nodes for bound in node.args[1:])
    return {target: rewrite(target) for target in targets} if whole else {}
