"""Batch norms are folded into the layer before them where that is exact, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from export.passes.eager import EagerModel
from export.passes.fold_batch_norm import fold_batch_norm
from export.program import capture, run_modules
from hydramobile.loader import load_modules
from hydramobile.samples import load_samples, sample_inputs
from hydramobile.spec import load_spec


def seeded(net: nn.Module) -> nn.Module:
    """Set every parameter and statistic at random, and the net to evaluation mode."""
    generator = torch.Generator().manual_seed(3)
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + (0.2 if "var" in name else -0.5))
    return net.eval().requires_grad_(False)


def norms(net: nn.Module) -> int:
    return sum(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in net.modules())


def folded(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold the norms and return the outputs before and after."""
    wanted = net(x)
    fold_batch_norm(EagerModel({"net": net}, lambda: {"x": x, "y": net(x)}))
    return wanted, net(x)


CASES = {
    "convolution": (nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU6()), (1, 3, 8, 8)),
    "grouped": (nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8, affine=False)), (1, 4, 8, 8)),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(3, 5, 2, stride=2), nn.BatchNorm2d(5)), (1, 3, 8, 8)),
    "one axis": (nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (2, 3, 8)),
    "linear": (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), (2, 6)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_norm_after_a_layer_is_folded(case: str) -> None:
    net, shape = CASES[case]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    wanted, found = folded(seeded(net), x)
    assert norms(net) == 0
    assert torch.allclose(found, wanted, atol=1e-5)


class Branching(nn.Module):
    """The output of `conv` is read by the norm and by an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(3, 3, 1)
        self.norm: nn.Module = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> Any:
        y = self.conv(x)
        return self.norm(y) + y


class Repeated(Branching):
    """`conv` is called twice, once without the norm after it."""

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.conv(self.conv(x)))


class Bypassed(Branching):
    """The norm reads a function of the output of `conv`."""

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(torch.relu(self.conv(x)))


class Tokens(Branching):
    """The channels of the linear layer are on the last axis, the channels of the norm on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Linear(5, 5), nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.conv(x))


@pytest.mark.parametrize("net_class", [Branching, Repeated, Bypassed, Tokens])
def test_norms_that_cannot_be_folded_exactly_stay(net_class: type[nn.Module]) -> None:
    net = seeded(net_class())
    x = torch.randn((2, 3, 5) if net_class is Tokens else (1, 3, 6, 6), generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    wanted, found = folded(net, x)
    assert norms(net) == 1
    assert torch.equal(found, wanted)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_shared_weights_stay() -> None:
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    second.weight = first.weight
    net = seeded(nn.Sequential(first, nn.BatchNorm2d(3), nn.ReLU(), second))
    wanted, found = folded(net, torch.randn(1, 3, 6, 6))
    assert norms(net) == 1
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", ["portrait", "classifier", "mixed"])
def test_whole_nets_compute_the_same(model_dir: Callable[[str], Path], name: str) -> None:
    spec = load_spec(model_dir(name))
    program = capture(spec)
    assert sum(norms(module) for module in program.modules.values()) == 0
    inputs = sample_inputs(spec, load_samples(spec, "judge")[0], spec.size)
    wanted, found = run_modules(spec, load_modules(spec), inputs), run_modules(spec, program.modules, inputs)
    for tensor in program.final():
        assert torch.equal(program.tensors[tensor], wanted[tensor]), "the program holds the reference's own values"
        assert float((found[tensor] - wanted[tensor]).abs().max()) < 2e-5
