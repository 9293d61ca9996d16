"""Module fix: nn.RReLU.

Symptom: no converter takes it ("rrelu_with_noise_functional" has no translation), though in evaluation mode it is no
more than a leaky ReLU.
Cause: torch.export writes the training op with its noise and leaves the mode as an argument.
Retired by: a PyTorch that decomposes rrelu in evaluation mode (tests/export/test_program.py keeps the net).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def settle_slopes(modules: Mapping[str, torch.nn.Module]) -> None:
    """Replace every RReLU inside `modules` by the leaky ReLU that it is when nothing is trained, in place."""
    from torch import nn

    for module in modules.values():
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.RReLU):
                    setattr(parent, name, nn.LeakyReLU((child.lower + child.upper) / 2))
