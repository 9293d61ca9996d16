"""Distillation: learn the features and maps of a larger net of the same interface, beside the truth of the views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from reference import losses
from reference.portrait import shaped_as
from reference.training.checkpoint import load_named
from reference.training.objective import decode
from reference.training.options import Weights
from reference.training.precision import fold_norms

# Bounds the weight of a feature that hardly varies.
_LEAST_VARIANCE = 1e-4


class Teacher:
    """A trained net with frozen weights."""

    def __init__(self, weights: Path) -> None:
        from safetensors.torch import load_file

        tensors = load_file(weights)
        self.modules = shaped_as(tensors)
        load_named(self.modules, tensors)
        fold_norms(self.modules.values())
        for module in self.modules.values():
            module.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def terms(
        self, image: Tensor, features: Sequence[Tensor], disparity: Tensor, logit: Tensor, weights: Weights
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the weighted loss and the mean of each term for a student's outputs on `image` [B, 3, H, W].

        Features are compared by squared error divided by the teacher's per-channel variance (FitNets, Romero et al.
        2015), maps by the heads' own losses.
        """
        with torch.no_grad():
            taught = self.modules["encoder"](image)
            depth, matte = decode(self.modules, taught)
            alpha = torch.sigmoid(matte[:, 0])
        whole = torch.ones_like(alpha)
        d, t = disparity[:, 0], depth[:, 0]
        terms = {
            "distill_features": feature_error(features, taught),
            # The background's depth counts too, at a sixth of the person's weight.
            "distill_depth": losses.masked_mean((d - t).abs(), 0.2 + alpha) + losses.gradient(d, t, whole, (1, 4)),
            "distill_matte": functional.binary_cross_entropy_with_logits(logit[:, 0], alpha),
        }
        means = {name: float(value.detach().mean()) for name, value in terms.items()}
        total = sum((getattr(weights, name) * value.mean() for name, value in terms.items()), d.new_zeros(()))
        return total, means


def feature_error(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return the mean over the feature maps of the squared error in units of the teacher's per-channel variance."""
    errors = []
    for learnt, target in zip(student, teacher, strict=True):
        variance = target.var((0, 2, 3), keepdim=True).clamp(min=_LEAST_VARIANCE)
        errors.append(((learnt - target).square() / variance).clamp(max=25).mean())
    return torch.stack(errors).mean()
