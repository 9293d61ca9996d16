"""Decompose circular and negative padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def circular_and_negative_pad(program: ExportedProgram) -> DecompositionTable:
    """Padding by what lies at the other end, as concatenations, and negative padding, as slices; others stay."""
    import torch
    from torch.nn import functional as F

    def pad(x: torch.Tensor, around: list[int], mode: str = "constant", value: float | None = None) -> Any:
        if mode != "circular" and min(around) >= 0:
            return KEEP_OP
        for dim, (before, after) in enumerate(zip(around[::2], around[1::2], strict=True)):
            axis = x.ndim - 1 - dim
            size = x.shape[axis]
            x = x.narrow(axis, max(0, -before), size + min(0, before) + min(0, after))
            if mode == "circular":
                pieces = [x.narrow(axis, size - max(0, before), max(0, before)), x, x.narrow(axis, 0, max(0, after))]
                x = torch.cat([piece for piece in pieces if piece.shape[axis]], axis)
        rest = [max(0, side) for side in around]
        return F.pad(x, rest, mode, value) if mode != "circular" and any(rest) else x

    return {torch.ops.aten.pad.default: pad}
