"""The patches that speed up training do not change the net's function."""

from __future__ import annotations

import copy

import torch

from reference.hydra import ConvNormAct
from reference.training.precision import fold_norms


def test_a_folded_norm_changes_neither_outputs_nor_gradients() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(ConvNormAct(3, 8, 3, stride=2), ConvNormAct(8, 8, 5, groups=8), ConvNormAct(8, 4, 1))
    for layer in plain:
        assert isinstance(layer, ConvNormAct)
        assert layer.norm.running_mean is not None and layer.norm.running_var is not None
        layer.norm.running_mean.normal_()
        layer.norm.running_var.uniform_(0.2, 3)
        torch.nn.init.uniform_(layer.norm.weight, -2, 2)
    plain.eval()
    folded = copy.deepcopy(plain)
    fold_norms([folded])
    image, gradient = torch.randn(2, 3, 32, 32), torch.randn(2, 4, 16, 16)
    for net in (plain, folded):
        (net(image) * gradient).sum().backward()
    assert torch.allclose(plain(image), folded(image), atol=1e-5)
    for (name, first), second in zip(folded.named_parameters(), plain.parameters(), strict=True):
        assert first.grad is not None and second.grad is not None
        assert torch.allclose(first.grad, second.grad, rtol=1e-4, atol=1e-3), name
    assert folded.state_dict().keys() == plain.state_dict().keys()
