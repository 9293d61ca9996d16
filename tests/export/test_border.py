"""The border of a model: dtypes of inputs, outputs and weights that not every format has, scalars, nested outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.program import Program
from hydramobile.errors import StageError
from hydramobile.float32 import compute_in_float32, upcasts
from hydramobile.loader import as_tuple
from hydramobile.targets import target_info
from support.emit import convert, run_entry
from support.programs import Part, wired_program

TARGETS = ("onnx", "coreml", "litert", "tfjs")
X = torch.linspace(-2, 2.5, 24).reshape(2, 3, 4)


class SmallIntegers(nn.Module):
    """Bytes are normalized, compared, indexed and added: uint8, int8 and int16 wrap around at their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 3)

    def forward(self, frame: Tensor, signed: Tensor, wave: Tensor) -> tuple[Tensor, ...]:
        picture = (frame.float() / 255.0 * 200).clamp(0, 255).to(torch.uint8)
        return (
            frame / 255,
            frame + 200,
            signed * 3,
            wave - 30000,
            self.table(frame[0].long()),
            frame.flip(1).max(-1).values > 100,
            picture,
            frame.sum(-1) + signed,
        )


SMALL = {
    "frame": torch.tensor([[0, 1, 55, 56], [100, 128, 254, 255]], dtype=torch.uint8),
    "signed": torch.tensor([[-128, -43, -42, 0]], dtype=torch.int8).T[:2] * 1,
    "wave": torch.tensor([-32768, -3000, -2768, 0, 32767], dtype=torch.int16),
}
SMALL_OUTPUTS = ("unit", "sum", "product", "lower", "rows", "bright", "picture", "mixed")


class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4).double()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layer(x)
        return y, torch.tanh(y).float()


class Half(nn.Module):
    """Weights in bfloat16, casts to half, and autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8).bfloat16(), nn.Linear(8, 4).half(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(F.gelu(self.a(x.to(torch.bfloat16))).half()) + torch.ones(4, dtype=torch.float16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.c(y.float())
        result: Tensor = y.softmax(-1, dtype=torch.float16).type(torch.float32)
        return result


class Scalars(nn.Module):
    def forward(self, x: Tensor, threshold: Tensor, count: Tensor) -> tuple[Tensor, ...]:
        return (x > threshold).float() * x, x.mean() + threshold, x[0, 0, 0], (x > 0).sum() + count, threshold * 1.5


def checked(program: Program, target: str, folder: Path, inputs: Mapping[str, Tensor]) -> dict[str, str]:
    """Compare the outputs of the file with PyTorch's on `inputs`. Return the dtype of each port in the file."""
    built = convert(program, target, folder / "scratch").emit("float32", folder / "artifact")
    runtime, module = target_info(target).test_runtime, program.modules["net"]
    with torch.no_grad():
        wanted = as_tuple(module(*inputs.values()))
    outputs = run_entry(runtime, built.folder, built.entry, {name: value.numpy() for name, value in inputs.items()})
    for name, value in zip(program.spec.entries["net"].outputs, wanted, strict=True):
        assert outputs[name].shape == tuple(value.shape), (target, name)
        error = np.abs(outputs[name].astype(np.float64) - value.double().numpy()).max()
        assert error < 1e-5 * max(1.0, float(value.double().abs().max())), (target, name, error)
    return {port.name: port.dtype for port in (*built.entry.inputs, *built.entry.outputs)}


@pytest.mark.parametrize("target", TARGETS)
def test_small_integers_compute_exactly(target: str, tmp_path: Path) -> None:
    program = wired_program({"net": Part(SmallIntegers(), tuple(SMALL), SMALL_OUTPUTS)}, SMALL)
    dtypes = checked(program, target, tmp_path, SMALL)
    assert {dtypes[name] for name in (*SMALL, "sum", "product", "lower", "picture")} == {"int32"}


def test_small_integers_that_an_op_rounds_are_refused(tmp_path: Path) -> None:
    class Resize(nn.Module):
        def forward(self, frame: Tensor) -> Tensor:
            return F.interpolate(frame, scale_factor=2.0, mode="bilinear")

    frame = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    program = wired_program({"net": Part(Resize(), ("frame",), ("y",))}, {"frame": frame})
    with pytest.raises(StageError, match=r"test_border\.py:\d+, 'return F\.interpolate.*convert to float32 first"):
        convert(program, "onnx", tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_float64_becomes_float32(target: str, tmp_path: Path) -> None:
    program = wired_program({"net": Part(Double(), ("x",), ("y", "z"))}, {"x": X.double()})
    assert set(checked(program, target, tmp_path, {"x": X.double()}).values()) == {"float32"}


@pytest.mark.parametrize("target", TARGETS)
def test_narrow_floats_are_upcast(target: str, tmp_path: Path) -> None:
    """The reference is the upcast: the same numbers in float32 layers."""
    torch.manual_seed(3)
    net = Half()
    with torch.no_grad():
        y = F.gelu(F.linear(X, net.a.weight.float(), net.a.bias.float()))
        wanted = net.c(F.linear(y, net.b.weight.float(), net.b.bias.float()) + 1).softmax(-1)
    compute_in_float32(net)
    program = wired_program({"net": Part(net, ("x",), ("y",))}, {"x": X})
    assert torch.allclose(program.tensors["y"], wanted, atol=1e-6)
    checked(program, target, tmp_path, {"x": X})
    met = upcasts(program.modules)["net"]
    assert met == ("autocast", "bfloat16 weights", "casts to bfloat16", "casts to float16", "float16 weights")


@pytest.mark.parametrize("target", TARGETS)
def test_scalars_go_in_and_out(target: str, tmp_path: Path) -> None:
    inputs = {"x": X, "threshold": torch.tensor(0.5), "count": torch.tensor(3)}
    outputs = ("y", "mean", "corner", "many", "more")
    program = wired_program({"net": Part(Scalars(), tuple(inputs), outputs)}, inputs)
    checked(program, target, tmp_path, {**inputs, "threshold": torch.tensor(-0.25), "count": torch.tensor(7)})


def test_nested_outputs_are_flat_in_order() -> None:
    @dataclass
    class Heads:
        boxes: Tensor
        masks: list[Tensor]
        loss: None = None

    a, b, c, d = (torch.full((1,), float(i)) for i in range(4))
    nested = {"heads": Heads(a, [b]), "none": None, "pair": (c, {"deep": d})}
    assert [int(value) for value in as_tuple(nested)] == [0, 1, 2, 3]
    assert as_tuple(a) == (a,) and as_tuple(None) == ()
