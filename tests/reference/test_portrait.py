"""The portrait Hydra: the carried-over weights compute what they computed, within the budget."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.files import sha256_file
from reference.hydra import FEATURE_CHANNELS, FEATURE_STRIDES
from reference.portrait import build

MODEL = Path(__file__).parents[2] / "models" / "portrait"
HEADS = ("depth", "segmentation")


@pytest.fixture(scope="module")
def net() -> dict[str, nn.Module]:
    """The trained modules, loaded strictly."""
    weights = load_file(MODEL / "weights.safetensors")
    modules = build()
    for name, module in modules.items():
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        module.load_state_dict(own)
    assert sum(len(module.state_dict()) for module in modules.values()) == len(weights)
    return modules


def features(net: dict[str, nn.Module], image: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        out: tuple[Tensor, ...] = net["encoder"](image)
    return out


def test_port_matches_the_original_net(net: dict[str, nn.Module]) -> None:
    """Against outputs of the sketch's own code and checkpoint, before clamp and sigmoid.

    sketch_golden.npz: a 128x96 crop of NASA's public domain portrait (RGB8), the sketch's disparity and logit.
    The matte's logits reach 17, hence the relative term. Retire this test with the ported weights.
    """
    golden = np.load(Path(__file__).parent / "sketch_golden.npz")
    image = torch.from_numpy(golden["image"]).float().permute(2, 0, 1)[None] / 255
    maps = features(net, image)
    for name, key in (("depth", "disparity"), ("segmentation", "logit")):
        decoder = net[name].decoder
        assert isinstance(decoder, nn.Module)
        with torch.no_grad():
            raw = decoder(*maps)[0, 0].numpy()
        np.testing.assert_allclose(raw, golden[key], atol=1e-5, rtol=1e-6)
    assert golden["logit"].max() > 5 > -5 > golden["logit"].min(), "the golden must see a person and a background"


def test_heads_bound_their_outputs(net: dict[str, nn.Module]) -> None:
    golden = np.load(Path(__file__).parent / "sketch_golden.npz")
    maps = features(net, torch.from_numpy(golden["image"]).float().permute(2, 0, 1)[None] / 255)
    with torch.no_grad():
        depth = net["depth"](*maps)[0, 0].numpy()
        alpha = net["segmentation"](*maps)[0, 0].numpy()
    np.testing.assert_allclose(depth, np.clip(golden["disparity"] / 2, 0, 1), atol=1e-5)
    np.testing.assert_allclose(alpha, 1 / (1 + np.exp(-golden["logit"])), atol=1e-5)
    assert 0.4 < np.median(depth[alpha > 0.9]) < 0.6


def test_depth_clamps_at_twice_the_median() -> None:
    depth = build()["depth"]
    maps = [torch.zeros(1, channels, 64 // stride, 64 // stride) for channels, stride in _levels()]
    predict = depth.get_submodule("decoder.predict")
    assert isinstance(predict, nn.Conv2d) and predict.bias is not None
    for disparity, expected in ((-1.0, 0.0), (1.0, 0.5), (3.0, 1.0)):
        nn.init.zeros_(predict.weight)
        nn.init.constant_(predict.bias, disparity)
        with torch.no_grad():
            assert torch.all(depth(*maps) == expected)


def test_budget(net: dict[str, nn.Module]) -> None:
    parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in net.items()}
    assert all(parameters[head] <= 100_000 for head in HEADS), parameters
    assert sum(parameters.values()) <= 3_200_000
    image = torch.zeros(1, 3, 256, 192)
    with FlopCounterMode(display=False) as counter:
        maps = features(net, image)
        for head in HEADS:
            with torch.no_grad():
                net[head](*maps)
    # The counter counts a multiply-add as two.
    assert 0 < counter.get_total_flops() / 2 <= 530e6
    assert (MODEL / "weights.safetensors").stat().st_size <= 14e6


def test_features_have_the_promised_shapes(net: dict[str, nn.Module]) -> None:
    maps = features(net, torch.rand(1, 3, 192, 256))
    expected = [(1, channels, 192 // stride, 256 // stride) for channels, stride in _levels()]
    assert [tuple(m.shape) for m in maps] == expected


@pytest.mark.parametrize("dynamic", [False, True])
def test_every_module_exports(net: dict[str, nn.Module], dynamic: bool) -> None:
    """torch.export at a fixed size, and with H and W free multiples of 32; the program repeats the module."""
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    maps = features(net, image)
    height, width = torch.export.Dim("height", min=2, max=32), torch.export.Dim("width", min=2, max=32)
    shapes = [{2: 32 * height, 3: 32 * width}], [{2: 32 // s * height, 3: 32 // s * width} for s in FEATURE_STRIDES]
    for name, inputs, dims in (("encoder", (image,), shapes[0]), *((head, maps, shapes[1]) for head in HEADS)):
        program = torch.export.export(net[name], inputs, dynamic_shapes=tuple(dims) if dynamic else None)
        size = (128, 64) if dynamic else (64, 96)
        image2 = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
        inputs2 = (image2,) if name == "encoder" else features(net, image2)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(*inputs2), net[name](*inputs2), atol=1e-5, rtol=1e-5)


def test_model_toml_names_these_weights_and_modules(net: dict[str, nn.Module]) -> None:
    spec = tomllib.loads((MODEL / "model.toml").read_text())
    assert spec["weights"]["sha256"] == sha256_file(MODEL / spec["weights"]["path"])
    assert list(spec["modules"]) == list(net)
    assert spec["factory"] == "reference.portrait:build"


def _levels() -> zip[tuple[int, int]]:
    return zip(FEATURE_CHANNELS, FEATURE_STRIDES, strict=True)
