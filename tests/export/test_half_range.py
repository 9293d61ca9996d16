"""Tensors that half precision cannot hold are found by running the graph, and stay float32 in the float16 files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.quantize.half_range import Extremes, Step, find_wide, holds
from hydramobile.targets import TARGETS
from support.emit import beyond, emit
from support.programs import module_program

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
LIMIT = 0.02
CHANNELS = 16
OUTPUTS = ("normed", "logs", "share", "back", "masked", "faint")


class Beyond(nn.Module):
    """Values beyond half's range and below it, that a net of ordinary inputs and outputs passes through."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.big, self.small = nn.Linear(16, CHANNELS), nn.Linear(16, CHANNELS), nn.Linear(CHANNELS, 4)
        self.tiny, self.back = nn.Linear(16, CHANNELS, bias=False), nn.Linear(CHANNELS, 4, bias=False)
        with torch.no_grad():
            self.big.weight *= 1e6
            self.tiny.weight *= 1e-8
            self.back.weight *= 1e8

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        loud = self.up(x) * 900
        normed = loud * torch.rsqrt(loud.square().mean(-1, keepdim=True) + 1e-6)
        kept = torch.relu(self.up(x))
        logs = torch.log(kept + 1e-8) / 8
        share = kept / (kept.sum(-1, keepdim=True) + 1e-12)
        low = torch.full((6, 6), torch.finfo(torch.float32).min).triu(1)
        masked = (x @ x.transpose(1, 2) / 4 + low).softmax(-1)
        # An output below half's range, which the net also reads.
        faint = self.tiny(x)
        back = self.back(faint) + self.small(torch.tanh(self.big(x) * 1e-5))
        return normed, logs, share, back, masked, faint


@pytest.mark.parametrize("target", TARGETS)
def test_float16_is_right_beyond_its_range(target: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    built = emit(module_program(Beyond(), torch.rand(1, 6, 16), OUTPUTS), target, tmp_path, "float16")
    built.read_back()
    assert beyond(built.errors(), LIMIT) == {}
    if target in ("onnx", "coreml"):
        text = " ".join(built.emitted.notes)
        assert "stay float32" in text and "elements up to" in text and "test_half_range.py:" in text


class Whole(nn.Module):
    """An output that the net itself casts: whole numbers of a product beyond half's range."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 300_000).long().float() / 300_000


def test_a_cast_of_the_nets_own_stays(tmp_path: Path) -> None:
    """ONNX drops the casts of its float16 converter before an output, and no cast to integers."""
    built = emit(module_program(Whole(), torch.rand(1, 6, 16)), "onnx", tmp_path, "float16")
    assert beyond(built.errors(), 1e-3) == {}


def extremes(*values: float) -> Extremes:
    result = Extremes()
    result.add(np.asarray(values, np.float32))
    return result


def test_an_ordinary_graph_has_no_wide_step() -> None:
    steps = [
        Step("conv", ("x",), ("y",), (np.ones((4, 4), np.float32),)),
        Step("add", ("y",), ("s",), (np.asarray(1e-5, np.float32),), moves=True),
        Step("div", ("x", "s"), ("z",), divisors=("s",)),
        Step("norm", ("z",), ("n",), squares=True),
    ]
    ordinary = {"x": extremes(0, 1e-9, 3), "y": extremes(0.1, 9), "s": extremes(0.1, 9), "z": extremes(1e-9, 30)}
    assert not find_wide(steps, ordinary).steps


def test_each_reason_keeps_its_steps() -> None:
    """An overflow, squares, an epsilon that vanishes, constants, and tensors below the normal range."""
    large = [Step("a", ("x",), ("y",)), Step("b", ("y",), ("z",)), Step("c", ("z",), ("w",))]
    assert find_wide(large, {"y": extremes(1e5), "z": extremes(1)}).steps == {"a", "b"}
    assert find_wide([Step("n", ("x",), ("y",), squares=True)], {"x": extremes(300)}).steps == {"n"}
    assert not find_wide([Step("n", ("x",), ("y",), squares=True)], {"x": extremes(200)}).steps
    epsilon = [
        Step("add", ("x",), ("y",), (np.asarray(1e-12, np.float32),), moves=True),
        Step("root", ("y",), ("r",), moves=True),
        Step("div", ("x", "r"), ("z",), divisors=("r",)),
    ]
    seen = {"x": extremes(1, 2), "y": extremes(1, 2), "r": extremes(1, 2), "z": extremes(1, 2)}
    assert find_wide(epsilon, seen).steps == {"add", "root", "div"}
    assert find_wide([Step("m", ("x",), ("y",), (np.full((4, 4), 1e6, np.float32),))], {}).steps == {"m"}
    assert find_wide([Step("a", ("x",), ("y",))], {"y": extremes(1e-8)}).steps == {"a"}


def test_what_half_holds() -> None:
    assert holds(np.asarray([1.0, -65504, -math.inf])) and holds(np.asarray(1e-6)) and holds(np.zeros((2, 2)))
    assert not holds(np.asarray([70000.0])) and not holds(np.asarray(1e-8)) and not holds(np.full((4, 4), 4e-8))


@pytest.mark.parametrize(
    "probe",
    [
        [0.0, -3.0, 2e-9, math.nan, math.inf, -0.0],
        [-math.inf, math.nan],
        [1e-42, 2.0],
        [0.0, 0.0],
        [-5.0],
        [],
    ],
)
def test_extremes_are_of_finite_elements_that_are_not_zero(probe: list[float]) -> None:
    """Subnormal elements count. Memory that is not contiguous is read in its order."""
    value = np.repeat(np.asarray(probe, np.float32), 2)[::2]
    counted = [abs(element) for element in value.tolist() if math.isfinite(element) and element]
    result = Extremes()
    result.add(value)
    expected = (max(counted), min(counted), max(counted)) if counted else (0.0, math.inf, math.inf)
    assert (result.largest, result.smallest, result.least_peak) == expected
