"""Graph fix: arguments that coremltools drops or misreads.

Symptom: `torch.add(x, y, alpha=2)` comes out as x + y and `softplus` as if its threshold were infinite, without a word;
a boolean mask that becomes one of floats (nn.MultiheadAttention's attn_mask) fails with "`y` must have the same data
type"; so do clamp, hardtanh and threshold with whole numbers as bounds; clamp with tensors as bounds with "truth value
of an array"; attention with fewer keys than queries (`enable_gqa=True`) with "Incompatible dim".
Cause: coremltools 9.0 reads neither alpha nor threshold nor enable_gqa nor the dtype of zeros_like and its kin, and
takes bounds as they are written.
Retired by: a coremltools that reads them as PyTorch does (tests/export/test_uncommon.py keeps the nets).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.attention import attention
from export.passes.decompose.elementwise import add_alpha, float_clamp_bounds
from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

SOFTPLUS_THRESHOLD = 20.0


def bounds(program: ExportedProgram) -> DecompositionTable:
    """Tensors as bounds: maxima and minima."""
    import torch

    aten = torch.ops.aten

    def clamp_tensors(x: torch.Tensor, low: torch.Tensor | None = None, high: torch.Tensor | None = None) -> Any:
        x = x if low is None else torch.maximum(x, low.to(x.dtype))
        return x if high is None else torch.minimum(x, high.to(x.dtype))

    return {aten.clamp.Tensor: clamp_tensors}


def likes(program: ExportedProgram) -> DecompositionTable:
    """zeros_like and its kin with a type of their own."""
    import torch

    aten = torch.ops.aten

    def filled(number: float) -> Any:
        def like(x: torch.Tensor, *, dtype: torch.dtype | None = None, **more: Any) -> Any:
            return KEEP_OP if dtype in (None, x.dtype) else torch.full(x.shape, number, dtype=dtype)

        return like

    return {aten.zeros_like.default: filled(0), aten.ones_like.default: filled(1)}


def softplus(program: ExportedProgram) -> DecompositionTable:
    import torch

    aten = torch.ops.aten

    def softplus(x: torch.Tensor, beta: float = 1.0, threshold: float = SOFTPLUS_THRESHOLD) -> Any:
        # Above the usual one the curve and its asymptote are the same float.
        if threshold >= SOFTPLUS_THRESHOLD:
            return KEEP_OP
        return torch.where(x * beta > threshold, x, aten.softplus.default(x, beta))

    return {aten.softplus.default: softplus}


decompose_arguments = DecomposeOps(
    "decompose_arguments", bounds, likes, softplus, attention, add_alpha, float_clamp_bounds
)
