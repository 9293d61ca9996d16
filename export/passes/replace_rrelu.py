"""Module fix: nn.RReLU.

Symptom: no converter supports it ("rrelu_with_noise_functional" has no translation), although it is a plain leaky ReLU
in evaluation mode.
Cause: torch.export writes the training op with its noise and leaves the mode as an argument.
Retired by: a PyTorch that decomposes rrelu in evaluation mode (tests/export/test_program.py keeps the net).
"""

from __future__ import annotations

from export.passes.base import PassResult
from export.passes.eager import EagerModel


def replace_rrelu(model: EagerModel) -> PassResult[EagerModel]:
    """Replace each `nn.RReLU` by the `nn.LeakyReLU` that it computes in evaluation mode.

    Before: `nn.RReLU(lower, upper)`. After: `nn.LeakyReLU((lower + upper) / 2)`.
    """
    from torch import nn

    modified = False
    for parent in model.submodules():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.RReLU):
                setattr(parent, name, nn.LeakyReLU((child.lower + child.upper) / 2))
                modified = True
    return PassResult(model, modified)
