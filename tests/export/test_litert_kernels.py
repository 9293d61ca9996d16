"""Rewrites around LiteRT's slow kernels: what the files hold instead, and that they compute the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from export.program import Program
from export.targets.litert import flatbuffer
from export.targets.litert.passes.flatbuffer import tile_channel_constants as tile
from support.emit import emit, errors_of
from support.programs import ops_program


def emitted(program: Program, folder: Path, name: str = "float32") -> tuple[dict[str, int], NDArray[Any]]:
    """(operators of the file, what it makes of the input), after the file's weights were read back."""
    built = emit(program, "litert", folder, name)
    assert len(built.read_back()) == len(built.converted.originals(built.recipe))
    model = flatbuffer.load(built.folder / built.entry.file, "test")
    return flatbuffer.count_ops(model, model.subgraphs[0]), built.run()["y"]


def error(program: Program, found: NDArray[Any]) -> float:
    return errors_of(program, {"y": found})["y"].relative


NARROW: dict[str, Callable[[], nn.Module]] = {
    "padded": lambda: nn.Conv2d(24, 1, 3, padding=1),
    "valid": lambda: nn.Conv2d(24, 1, (3, 5), bias=False),
    "strided": lambda: nn.Conv2d(16, 1, 5, stride=(2, 1)),
    "dilated": lambda: nn.Conv2d(12, 1, 3, padding=2, dilation=2),
    "activated": lambda: nn.Sequential(nn.Conv2d(24, 1, 3, padding=1), nn.ReLU6()),
}


@pytest.mark.parametrize("kind", NARROW)
def test_a_convolution_to_one_channel_is_spread(tmp_path: Path, kind: str) -> None:
    layer = NARROW[kind]()
    channels = next(layer.parameters()).shape[1]
    program = ops_program({"y": layer}, (1, channels, 11, 14))
    ops, found = emitted(program, tmp_path)
    assert (ops["CONV_2D"], ops["DEPTHWISE_CONV_2D"]) == (2, 1)
    assert error(program, found) < 1e-6


@pytest.mark.parametrize(("name", "limit"), [("float16", 1e-3), ("w8", 1e-2)])
def test_it_is_spread_behind_shorter_weights(tmp_path: Path, name: str, limit: float) -> None:
    program = ops_program({"y": nn.Conv2d(24, 1, 3, padding=1)}, (1, 24, 11, 14))
    ops, found = emitted(program, tmp_path, name)
    assert (ops["CONV_2D"], ops["DEPTHWISE_CONV_2D"], ops["DEQUANTIZE"]) == (2, 1, 1)
    assert error(program, found) < limit


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 1, 3), nn.Conv2d(24, 2, 3), nn.Conv2d(24, 1, 1), nn.Conv2d(24, 1, 2, stride=2)],
    ids=["few channels", "two made", "one tap", "each pixel read once"],
)
def test_what_gains_nothing_stays(tmp_path: Path, layer: nn.Conv2d) -> None:
    program = ops_program({"y": layer}, (1, layer.in_channels, 8, 8))
    ops, found = emitted(program, tmp_path)
    assert (ops["CONV_2D"], ops["DEPTHWISE_CONV_2D"]) == (1, 0)
    assert error(program, found) < 1e-6


def test_a_weight_that_two_layers_read_stays(tmp_path: Path) -> None:
    weight = torch.rand(1, 24, 3, 3)

    def twice(x: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=1) - F.conv2d(x, weight, padding=2, dilation=2)

    program = ops_program({"y": twice}, (1, 24, 8, 8))
    ops, found = emitted(program, tmp_path)
    assert ops["DEPTHWISE_CONV_2D"] == 0
    assert error(program, found) < 1e-6


def test_constants_of_few_channels_span_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as without, from constants of a row of pixels."""
    mean, spread = torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1) + 0.5
    program = ops_program({"y": lambda x: (x - mean) * spread}, (1, 3, 6, 10))
    _, found = emitted(program, tmp_path)
    model = flatbuffer.load(tmp_path / "artifact/ops.tflite", "test")
    shapes = [list(map(int, tensor.shape)) for tensor in model.subgraphs[0].tensors if tensor.name.endswith(b"/row")]
    assert shapes.count([1, 1, 10, 3]) == 2
    monkeypatch.setattr(tile, "MAX_CHANNELS", 0)
    assert np.array_equal(found, emitted(program, tmp_path / "plain")[1])


@pytest.mark.parametrize("shape", [(1, 16, 6, 10), (1, 3, 6, 900)], ids=["many channels", "a long row"])
def test_constants_that_gain_nothing_stay(tmp_path: Path, shape: tuple[int, ...]) -> None:
    factor = torch.rand(1, shape[1], 1, 1)
    program = ops_program({"y": lambda x: x * factor}, shape)
    _, found = emitted(program, tmp_path)
    assert (tmp_path / "artifact/ops.tflite").stat().st_size < 4096
    assert error(program, found) < 1e-6
