"""The LiteRT passes on the flatbuffer: the operators of the file with and without each, and the same values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.program import Program
from export.targets.litert import flatbuffer
from support.emit import Built, emit
from support.programs import ops_program


def emit_checked(program: Program, folder: Path, name: str = "float32") -> Built:
    """Emit recipe `name`, and check that every weight is read back from the file."""
    built = emit(program, "litert", folder, name)
    assert len(built.read_back()) == len(built.converted.originals(built.recipe))
    return built


def graph_of(built: Built) -> tuple[Any, Any]:
    """Return the model and its first graph."""
    model = flatbuffer.load(built.folder / built.entry.file, "test")
    return model, model.subgraphs[0]


def ops_of(built: Built) -> Counter[str]:
    return flatbuffer.count_ops(*graph_of(built))


def error_of(built: Built) -> float:
    return built.errors()["y"].relative


def leave_out_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.targets.litert.target.FLATBUFFER_PASSES", ())


SINGLE_CHANNEL: dict[str, Callable[[], nn.Module]] = {
    "padded": lambda: nn.Conv2d(24, 1, 3, padding=1),
    "valid": lambda: nn.Conv2d(24, 1, (3, 5), bias=False),
    "strided": lambda: nn.Conv2d(16, 1, 5, stride=(2, 1)),
    "dilated": lambda: nn.Conv2d(12, 1, 3, padding=2, dilation=2),
    "activated": lambda: nn.Sequential(nn.Conv2d(24, 1, 3, padding=1), nn.ReLU6()),
}


@pytest.mark.parametrize("layer", SINGLE_CHANNEL)
def test_a_single_channel_convolution_is_decomposed(tmp_path: Path, layer: str) -> None:
    module = SINGLE_CHANNEL[layer]()
    channels = next(module.parameters()).shape[1]
    built = emit_checked(ops_program({"y": module}, (1, channels, 11, 14)), tmp_path)
    assert (ops_of(built)["CONV_2D"], ops_of(built)["DEPTHWISE_CONV_2D"]) == (2, 1)
    assert error_of(built) < 1e-6


def test_a_single_channel_convolution_is_one_operator_without_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_passes(monkeypatch)
    built = emit_checked(ops_program({"y": SINGLE_CHANNEL["padded"]()}, (1, 24, 11, 14)), tmp_path)
    assert (ops_of(built)["CONV_2D"], ops_of(built)["DEPTHWISE_CONV_2D"]) == (1, 0)
    assert error_of(built) < 1e-6


@pytest.mark.parametrize(("name", "limit"), [("float16", 1e-3), ("w8", 1e-2)])
def test_a_convolution_with_a_dequantized_weight_is_decomposed(tmp_path: Path, name: str, limit: float) -> None:
    built = emit_checked(ops_program({"y": nn.Conv2d(24, 1, 3, padding=1)}, (1, 24, 11, 14)), tmp_path, name)
    ops = ops_of(built)
    assert (ops["CONV_2D"], ops["DEPTHWISE_CONV_2D"], ops["DEQUANTIZE"]) == (2, 1, 1)
    assert error_of(built) < limit


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 1, 3), nn.Conv2d(24, 2, 3), nn.Conv2d(24, 1, 1), nn.Conv2d(24, 1, 2, stride=2)],
    ids=["few channels", "two output channels", "one tap", "each pixel read once"],
)
def test_convolutions_that_would_cost_more_stay(tmp_path: Path, layer: nn.Conv2d) -> None:
    built = emit_checked(ops_program({"y": layer}, (1, layer.in_channels, 8, 8)), tmp_path)
    assert (ops_of(built)["CONV_2D"], ops_of(built)["DEPTHWISE_CONV_2D"]) == (1, 0)
    assert error_of(built) < 1e-6


def test_convolutions_that_share_a_weight_stay(tmp_path: Path) -> None:
    weight = torch.rand(1, 24, 3, 3)

    def twice(x: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=1) - F.conv2d(x, weight, padding=2, dilation=2)

    built = emit_checked(ops_program({"y": twice}, (1, 24, 8, 8)), tmp_path)
    assert ops_of(built)["DEPTHWISE_CONV_2D"] == 0
    assert error_of(built) < 1e-6


def constant_shapes(built: Built) -> list[list[int]]:
    """Return the shapes of the operands of rank 4 that are constants."""
    model, graph = graph_of(built)
    return [
        [int(size) for size in tensor.shape]
        for tensor in graph.tensors
        if model.buffers[tensor.buffer].data is not None and tensor.shape is not None and len(tensor.shape) == 4
    ]


def test_constants_of_few_channels_are_tiled_along_the_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs are equal to the bit with and without the pass."""
    mean, deviation = torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1) + 0.5
    program = ops_program({"y": lambda x: (x - mean) * deviation}, (1, 3, 6, 10))
    tiled = emit_checked(program, tmp_path / "with")
    assert constant_shapes(tiled).count([1, 1, 10, 3]) == 2
    leave_out_passes(monkeypatch)
    plain = emit_checked(program, tmp_path / "without")
    assert [1, 1, 10, 3] not in constant_shapes(plain)
    assert np.array_equal(tiled.run()["y"], plain.run()["y"])


@pytest.mark.parametrize("shape", [(1, 16, 6, 10), (1, 3, 6, 900)], ids=["many channels", "a long row"])
def test_constants_that_would_cost_more_stay(tmp_path: Path, shape: tuple[int, ...]) -> None:
    factor = torch.rand(1, shape[1], 1, 1)
    built = emit_checked(ops_program({"y": lambda x: x * factor}, shape), tmp_path)
    assert (built.folder / built.entry.file).stat().st_size < 4096
    assert error_of(built) < 1e-6
