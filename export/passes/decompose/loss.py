"""Decompose `aten.cross_entropy_loss` with classes as targets: a score of each sample, not only a loss in training.

Before: cross_entropy_loss(x [N, C, ..], target [N, ..], reduction)
After:  -log_softmax(x, 1).gather(1, target), reduced

Symptom: "node nll_loss_nd got 4 input(s), expected [5]" (Core ML), "op 'SoftmaxCrossEntropyLoss' is not supported"
(TF.js).
Retired by: converters that take the op (tests/export/test_masks.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

MEAN, SUM = 1, 2


def cross_entropy(program: ExportedProgram) -> DecompositionTable:
    """Decompose the loss without weights and smoothing, of two axes and more; the class `ignore` scores 0."""
    import torch

    def loss(
        x: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        reduction: int = MEAN,
        ignore: int = -100,
        smoothing: float = 0.0,
    ) -> Any:
        if weight is not None or smoothing or target.is_floating_point() or x.ndim < 2:
            return KEEP_OP
        counted = target != ignore
        picked = torch.log_softmax(x, 1).gather(1, torch.where(counted, target, 0).unsqueeze(1)).squeeze(1)
        losses = torch.where(counted, -picked, 0.0)
        if reduction == MEAN:
            return losses.sum() / counted.to(x.dtype).sum()
        return losses.sum() if reduction == SUM else losses

    return {torch.ops.aten.cross_entropy_loss.default: loss}
