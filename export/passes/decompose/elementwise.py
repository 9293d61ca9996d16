"""Elementwise ops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.spell_out import Table, unchanged

if TYPE_CHECKING:
    import torch


def table() -> Table:
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
            return unchanged()
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
        return unchanged() if train else x

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
