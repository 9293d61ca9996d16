"""A photo's range holds end to end: the samples, the file's scale, the golden's bytes and the words of USAGE.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.init.request import AskedInput, InitRequest
from export.init.run import run_init
from export.program import Program, capture
from export.seal import preprocessing, usage_text
from export.targets.coreml.package import byte_scale
from hydramobile.artifact import Port
from hydramobile.ports import to_file
from hydramobile.preprocess import scale_code, scale_words, to_range
from hydramobile.spec import load_spec
from support.emit import beyond, emit

RANGES = [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-0.5, 0.5), (-128.0, 127.0)]


@pytest.mark.parametrize("limits", RANGES)
def test_the_code_of_usage_is_what_the_samples_are(limits: tuple[float, float]) -> None:
    bytes_ = np.arange(256, dtype=np.float32)
    expected = to_range(bytes_ / np.float32(255), limits)
    written = eval(scale_code("v", limits), {"v": bytes_})  # the expression is Python as well
    np.testing.assert_allclose(written, expected, atol=2e-5 * max(map(abs, limits)))


def test_the_scale_in_words() -> None:
    assert [scale_words(limits) for limits in (None, *RANGES[1:4])] == [
        "divided by 255",
        "as they are, 0 to 255",
        "multiplied by 2 / 255, minus 1",
        "divided by 255, minus 0.5",
    ]
    assert scale_code("v", (-1, 1), "f") == "v / 255f * 2f - 1f"


@pytest.mark.parametrize("limits", RANGES)
def test_a_value_becomes_its_byte_again(limits: tuple[float, float]) -> None:
    bytes_ = np.arange(243, dtype=np.float32).reshape(1, 3, 9, 9)
    port = Port("x", "x", (1, 9, 9, 3), "NHWC", "uint8", reference_layout="NCHW", **byte_scale(limits))
    stored = to_file(port, to_range(bytes_ / np.float32(255), limits))
    assert np.array_equal(stored, bytes_.transpose(0, 2, 3, 1).astype(np.uint8))


def program_of(tmp_path: Path, limits: tuple[float, float], mean: tuple[float, ...], std: tuple[float, ...]) -> Program:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()).eval()
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 16, 16),)), tmp_path / "net.pt2")
    asked = (AskedInput("input", (1, 3, 16, 16), "rgb-photo", "", limits),)
    request = InitRequest(tmp_path / "model", (str(tmp_path / "net.pt2"),), asked, None, mean, std)
    return capture(load_spec(run_init(request, lambda text: None).folder))


@pytest.mark.parametrize("target", ["coreml", "onnx"])
@pytest.mark.parametrize(
    ("limits", "mean", "std"),
    [((0.0, 255.0), (120.0, 110.0, 100.0), (60.0, 61.0, 62.0)), ((-1.0, 1.0), (), ())],
)
def test_files_take_the_declared_range(
    tmp_path: Path, target: str, limits: tuple[float, float], mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    program = program_of(tmp_path, limits, mean, std)
    built = emit(program, target, tmp_path)
    assert not beyond(built.errors(), 1e-5)

    (port,) = built.entry.inputs
    assert port.range == limits
    text = usage_text(program, built.converted.target, built.recipe, built.emitted)
    assert ("The files themselves subtract the mean (120, 110, 100)" in text) == bool(mean)
    assert "the net does that" not in text
    contract = preprocessing(program.spec)
    assert (contract["range"], contract["scale"]) == (list(limits), scale_words(limits))
    if target == "onnx":
        assert f"{scale_words(limits)}, channel planes" in text and scale_code("rgba[4 * i + c]", limits) in text
    else:
        assert f"to [{limits[0]:g}, {limits[1]:g}] is inside the model" in text.replace("\n", " ")
