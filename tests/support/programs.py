"""Build a `Program` from plain functions and modules, without a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.program import Program
from hydramobile.loader import as_tuple
from hydramobile.spec import EntrySpec, ModelSpec, ModuleSpec, TensorSpec

Function = Callable[[Tensor], Tensor]
Cases = dict[str, Function]


@dataclass(frozen=True, slots=True)
class Part:
    """A module of a model, with the names of the tensors that it reads and returns."""

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def wired_program(parts: Mapping[str, Part], inputs: Mapping[str, Tensor], fused: str = "") -> Program:
    """Return the Program of a model called `ops` of `parts`, which run in their order.

    Every part is an entry. `fused` names one more entry of all parts, which returns the outputs that no part reads.
    Weights stay as they are.
    """
    known = dict(inputs)
    for part in parts.values():
        part.module.eval().requires_grad_(False)
        with torch.no_grad():
            returned = as_tuple(part.module(*(known[name] for name in part.inputs)))
        known |= dict(zip(part.outputs, returned, strict=True))
    layouts = {name: "NCHW" if x.ndim == 4 else "any" for name, x in inputs.items()}
    specs = {
        name: TensorSpec(name, tuple(x.shape), layouts[name], dtype_name(x), None, "tensor", None, "an input")
        for name, x in inputs.items()
    }
    entries = {name: EntrySpec(name, (name,), part.inputs, part.outputs, "") for name, part in parts.items()}
    if fused:
        read = {name for part in parts.values() for name in part.inputs}
        outputs = tuple(name for part in parts.values() for name in part.outputs if name not in read)
        entries[fused] = EntrySpec(fused, tuple(parts), tuple(inputs), outputs, "")
    spec = ModelSpec(
        folder=Path(),
        name="ops",
        version="1",
        license="Apache-2.0",
        authors=("Tests",),
        description="one op per output",
        factory="none:none",
        weights_path="none",
        weights_sha256="0",
        sizes=((1, 1),),
        tensors=specs,
        modules={name: ModuleSpec(name, part.inputs, part.outputs, "") for name, part in parts.items()},
        entries=entries,
        options={},
        sha256="0",
    )
    return Program(spec, (1, 1), {name: part.module for name, part in parts.items()}, known)


def dtype_name(x: Tensor) -> Any:
    """Return "float32", "int64", ... as model.toml writes it."""
    return str(x.dtype).removeprefix("torch.")


def module_program(module: nn.Module, x: Tensor, outputs: tuple[str, ...] = ("y",)) -> Program:
    """Return the Program of one module, called `net`, that reads `x`. Its weights stay as they are."""
    return wired_program({"net": Part(module, ("x",), outputs)}, {"x": x})


class Several(nn.Module):
    """Many functions of one input, each with an output of its own: one export tests them all."""

    def __init__(self, cases: Cases) -> None:
        super().__init__()
        self.functions = list(cases.values())
        self.parts = nn.ModuleList([case for case in self.functions if isinstance(case, nn.Module)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in self.functions)


def ops_program(cases: Cases, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Program:
    """Return the Program of one module, called `net`, with one output per case.

    Biases and batch norms' statistics are random, so that no default value hides an error. The input `x` has `shape`
    and lies between `low` and `high`. Everything is seeded.
    """
    torch.manual_seed(3)
    net = Several(cases)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
        bias = getattr(module, "bias", None)  # a tensor, a flag, or no attribute, by the layer
        if isinstance(bias, Tensor):
            nn.init.uniform_(bias, -0.5, 0.5)
    return module_program(net, torch.rand(shape) * (high - low) + low, tuple(cases))


def calibrated(program: Program) -> Program:
    """Return the program with its own example as the only calibration sample."""
    return replace(program, calibration=(program.tensors,), calibration_hashes=("0" * 64,))


def assigned(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :2] = x[:, 2:4] * 2
    y[:, 1, 3:9, ::3] = 0.25
    return y


def masked(x: Tensor) -> Tensor:
    y = x + 0
    y[y < 0.4] = 0.4
    return y


# Writes into parts of a tensor of at least 4 channels, 9 rows and 4 columns: scatters, where nothing rewrites them.
WRITES: Cases = {"masked": masked, "assigned": assigned}
