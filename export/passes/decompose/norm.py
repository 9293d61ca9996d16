"""Decompose normalization ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def rms_norm(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.rms_norm` into x * rsqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019).

    Without `eps`, PyTorch adds the machine epsilon of the input's dtype.
    """
    import torch

    def normalize(
        x: torch.Tensor, shape: list[int], weight: torch.Tensor | None = None, eps: float | None = None
    ) -> torch.Tensor:
        axes = list(range(x.ndim - len(shape), x.ndim))
        epsilon = torch.finfo(x.dtype).eps if eps is None else eps
        output = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon)
        return output if weight is None else output * weight

    return {torch.ops.aten.rms_norm.default: normalize}
