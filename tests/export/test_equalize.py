"""Equalization leaves the float function unchanged; bias correction subtracts the shift that rounding adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from export.program import Program, calibrate, capture, run_modules
from export.quantize.cross_layer_equalization import choose_scales, equalize
from hydramobile.errors import StageError
from hydramobile.files import sha256_file
from hydramobile.samples import load_samples, sample_inputs
from hydramobile.spec import load_spec

SPEC = """
schema = 1
name = "{package}"
version = "1.0.0"
license = "Apache-2.0"
authors = ["x"]
factory = "{package}.net:build"
weights = {{ path = "weights.safetensors", sha256 = "{sha256}" }}
sizes = [[32, 32]]
[tensors.image]
shape = [1, 3, "H", "W"]
range = [0, 1]
kind = "rgb-photo"
[tensors.map]
shape = [1, 4, "H", "W"]
[modules.net]
inputs = ["image"]
outputs = ["map"]
"""
NET = """
from torch import nn

def build():
    return {"net": nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.ReLU6(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU6(),
        nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))}
"""


def weights() -> dict[str, Tensor]:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 1),
        nn.ReLU6(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU6(),
        nn.Conv2d(16, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
    )
    with torch.no_grad():
        # Channels of very different range, as after folding a batch norm; the last ones are clipped at 6.
        spread = 2.0 ** torch.linspace(-7, 4, 16)
        net.get_parameter("0.weight").mul_(spread.reshape(-1, 1, 1, 1))
        net.get_parameter("0.bias").copy_(spread * 0.3)
        net.get_parameter("2.weight").abs_()
    return dict(net.state_dict())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    folder = tmp_path_factory.mktemp("equalize") / "own_equalized_net"
    folder.mkdir()
    save_file({f"net.{key}": value for key, value in weights().items()}, folder / "weights.safetensors")
    (folder / "net.py").write_text(NET)
    (folder / "__init__.py").write_text("")
    text = SPEC.format(package=folder.name, sha256=sha256_file(folder / "weights.safetensors"))
    (folder / "model.toml").write_text(text)
    spec = load_spec(folder)
    return calibrate(capture(spec), load_samples(spec, "calibrate"))


def outputs(program: Program, split: str) -> list[np.ndarray]:
    spec = program.spec
    samples = load_samples(spec, split)
    return [run_modules(spec, program.modules, sample_inputs(spec, s, program.size))["map"].numpy() for s in samples]


def parameters(program: Program) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in program.modules["net"].named_parameters()}


def test_the_float_function_is_the_same_and_channel_ranges_are_closer(program: Program) -> None:
    # At 32 bits rounding adds no shift, so biases stay.
    made = equalize(program, 32)
    assert made.pairs >= 2 and made.channels > 10
    for ours, theirs in zip(outputs(made.program, "judge"), outputs(program, "judge"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
    before, after = parameters(program), parameters(made.program)

    def reach(values: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(np.abs(values["0.weight"]).max(axis=(1, 2, 3)))

    moved = reach(after) / reach(before)
    assert np.all(np.log2(moved) == np.round(np.log2(moved)))
    assert moved[0] >= 16 and moved[-1] == 1, "the smallest channel is raised, the clipped one left alone"
    assert np.ptp(np.log2(reach(after)[:12])) < np.ptp(np.log2(reach(before)[:12]))
    assert not np.array_equal(before["2.weight"], after["2.weight"])


def test_bias_correction_subtracts_the_mean_shift(program: Program) -> None:
    bits = 3
    made = equalize(program, bits)
    # The last convolution before a map stays in float, so its bias is not corrected.
    assert made.biases == 3 and "3 biases corrected" in made.note

    def rounded(modules: dict[str, Any]) -> Any:
        net = __import__("copy").deepcopy(modules["net"])
        for layer in net[:-1]:
            if isinstance(layer, nn.Conv2d):
                value = layer.weight.data
                step = value.abs().flatten(1).amax(1).reshape(-1, 1, 1, 1) / (2 ** (bits - 1) - 1)
                layer.weight.data = torch.round(value / step) * step
        return net

    plain = equalize(program, 32)

    def shift(modules: Any) -> float:
        wrong = replace(program, modules={"net": rounded(modules)})
        pairs = zip(outputs(wrong, "calibrate"), outputs(program, "calibrate"), strict=True)
        return float(np.mean([np.abs((ours - theirs).mean(axis=(2, 3))).mean() for ours, theirs in pairs]))

    assert shift(made.program.modules) < 0.7 * shift(plain.program.modules)


def test_the_given_program_is_unchanged(program: Program) -> None:
    before = parameters(program)
    equalize(program, 8)
    after = parameters(program)
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_equalizing_needs_calibration_samples(program: Program) -> None:
    with pytest.raises(StageError, match="needs calibration samples"):
        equalize(replace(program, calibration=()), 8)


def test_scales_of_channels() -> None:
    peak = np.array([6.0, 3.0, 0.1, 0.0])
    scales = choose_scales(peak, None, 6.0)
    assert list(scales) == [1.0, 1.0, 2.0**-5, 1.0], "no channel may pass three quarters of the limit"
    assert np.all(peak[1:] / scales[1:] <= 4.5)
    weighted = choose_scales(peak, np.array([1.0, 1.0, 1.0, 1.0]), float("inf"))
    assert weighted[2] > choose_scales(peak, None, float("inf"))[2], (
        "weights that share a scale are raised half the way"
    )
    assert list(choose_scales(np.zeros(3), None, 6.0)) == [1.0, 1.0, 1.0]


def test_a_module_without_pairs_has_its_biases_corrected(model_dir: Callable[[str], Path]) -> None:
    spec = load_spec(model_dir("classifier"))
    made = equalize(calibrate(capture(spec), load_samples(spec, "calibrate")[:1]), 8)
    assert made.pairs >= 0 and made.biases > 0
