"""Decompose normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def rms_norm(program: ExportedProgram) -> DecompositionTable:
    """Root-mean-square norms in means and products."""
    import torch

    def rms_norm(
        x: torch.Tensor, shape: list[int], weight: torch.Tensor | None = None, eps: float | None = None
    ) -> torch.Tensor:
        axes = list(range(x.ndim - len(shape), x.ndim))
        least = torch.finfo(x.dtype).eps if eps is None else eps
        made = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + least)
        return made if weight is None else made * weight

    return {torch.ops.aten.rms_norm.default: rms_norm}
