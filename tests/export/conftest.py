"""Fixtures of the tests that export a net made of single ops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.program import Program
from hydramobile.spec import EntrySpec, ModelSpec, ModuleSpec, TensorSpec

Cases = dict[str, Callable[[Tensor], Tensor]]


def assigned(x: Tensor) -> Tensor:
    """Parts of a tensor written to: what would be scatters."""
    y = x.clone()
    y[:, :2] = x[:, 2:4] * 2
    y[:, 1, 3:9, ::3] = 0.25
    return y


def masked(x: Tensor) -> Tensor:
    y = x + 0
    y[y < 0.4] = 0.4
    return y


@pytest.fixture(scope="session")
def writes() -> Cases:
    """Writes into parts of a tensor, as functions of one of at least 4 channels, 9 rows and 4 columns."""
    return {"masked": masked, "assigned": assigned}


class Several(nn.Module):
    """Many ops on one input, an output each: one export tests them all."""

    def __init__(self, cases: Cases) -> None:
        super().__init__()
        self.names = list(cases)
        self.functions = list(cases.values())
        self.parts = nn.ModuleList([case for case in self.functions if isinstance(case, nn.Module)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in self.functions)


def program_of(cases: Cases, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Program:
    """A one-module model around `cases`, with seeded weights, and an input of `shape` between `low` and `high`."""
    torch.manual_seed(3)
    net = Several(cases).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if getattr(module, "bias", None) is not None and isinstance(module.bias, Tensor):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    x = torch.rand(shape) * (high - low) + low
    with torch.no_grad():
        tensors = {"x": x, **dict(zip(cases, net(x), strict=True))}
    names = tuple(cases)
    layout = "NCHW" if len(shape) == 4 else "any"
    specs = {"x": TensorSpec("x", shape, layout, "float32", None, "tensor", None, "the input")}
    modules = {"net": ModuleSpec("net", ("x",), names, "")}
    entries = {"net": EntrySpec("net", ("net",), ("x",), names, "")}
    about = ("ops", "1", "Apache-2.0", ("Tests",), "one op an output", "none:none", "none", "0")
    spec = ModelSpec(Path(), *about, ((1, 1),), specs, modules, entries, {}, "0")
    return Program(spec, (1, 1), {"net": net}, tensors)


@pytest.fixture(scope="session")
def ops_program() -> Callable[..., Program]:
    """`ops_program(cases, shape, low=-2, high=2)`: a model around functions of one tensor, an output each."""
    return program_of
