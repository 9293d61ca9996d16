"""Drawn weights of a library's net: no zero parameter and no idle norm hides a layer from the judge."""

from __future__ import annotations

import torch
from torch import nn

from export.init.net import KnownInput, Origin
from export.init.seeded import enliven


def test_zero_parameters_and_idle_norms_are_replaced() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).eval()
    norm, last = net[1], net[2]
    assert isinstance(norm, nn.BatchNorm2d) and isinstance(last, nn.Conv2d)
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(last.weight)
    net.requires_grad_(False)
    origin = Origin({"net": net}, {"net": (KnownInput("image", (1, 3, 16, 16)),)})
    enliven(origin, ())
    assert torch.equal(norm.weight, torch.full((4,), 0.4)) and float(last.weight.abs().min()) > 0
    assert not net.training and int(norm.num_batches_tracked or 0) == 4
    convolved = net[0](torch.rand(64, 3, 16, 16))
    assert norm.running_mean is not None and (convolved.mean((0, 2, 3)) - norm.running_mean).abs().max() < 0.1
    assert len(origin.notes) == 2


def test_a_net_without_either_keeps_its_weights() -> None:
    net = nn.Linear(4, 2).requires_grad_(False)
    before = net.weight.clone()
    origin = Origin({"net": net}, {"net": (KnownInput("x", (1, 4)),)})
    enliven(origin, ())
    assert torch.equal(net.weight, before) and not origin.notes
