"""The portrait Hydra: the trained weights find a person, and the net is within its budget."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hydramobile.files import sha256_file
from hydramobile.loader import load_modules
from hydramobile.preprocess import load_photo, to_tensor
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec
from reference.hydra import FEATURE_CHANNELS, FEATURE_STRIDES
from reference.portrait import build
from reference.training.objective import decode

MODEL = Path(__file__).parents[2] / "models" / "portrait"
HEADS = ("depth", "segmentation")
PHOTO = MODEL / "samples" / "grace-hopper.jpg"


@pytest.fixture(scope="module")
def net() -> dict[str, nn.Module]:
    """Return the trained modules, loaded strictly."""
    weights = load_file(MODEL / "weights.safetensors")
    modules = build()
    for name, module in modules.items():
        state = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        module.load_state_dict(state)
    assert sum(len(module.state_dict()) for module in modules.values()) == len(weights)
    return modules


def features(net: dict[str, nn.Module], image: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        out: tuple[Tensor, ...] = net["encoder"](image)
    return out


def test_a_photo_gives_a_person_and_bounded_maps(net: dict[str, nn.Module]) -> None:
    """On the public domain portrait: the heads' maps are their decoders' maps, bounded, and show a person."""
    image = to_tensor(load_photo(PHOTO), (256, 192))
    maps = features(net, torch.from_numpy(image))
    with torch.no_grad():
        depth, alpha = (net[head](*maps)[0, 0].numpy() for head in HEADS)
        disparity, logit = decode(net, maps)
    np.testing.assert_allclose(depth, np.clip(disparity[0, 0].numpy() / 2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(alpha, 1 / (1 + np.exp(-logit[0, 0].numpy())), atol=1e-6)
    assert logit.max() > 5 > -5 > logit.min()
    assert 0.4 < np.median(depth[alpha > 0.9]) < 0.6, "the person's median is .5"
    assert np.median(depth[alpha < 0.1]) < 0.35, "the background is farther"


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
    """Every module exports at a fixed size and at dynamic multiples of 32, and the program equals the module."""
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


def test_the_slim_portrait_has_the_full_ones_interface_at_half_the_cost(net: dict[str, nn.Module]) -> None:
    full, slim = (load_spec(MODEL.parent / name) for name in ("portrait", "portrait-slim"))
    assert (slim.tensors, slim.modules, slim.entries, slim.sizes) == (
        full.tensors,
        full.modules,
        full.entries,
        full.sizes,
    )
    assert load_samples(slim, "judge") == load_samples(full, "judge")
    modules = load_modules(slim)
    assert sum(p.numel() for module in modules.values() for p in module.parameters()) <= 1_600_000
    image = torch.from_numpy(to_tensor(load_photo(PHOTO), (256, 192)))
    with FlopCounterMode(display=False) as counter:
        maps = features(modules, image)
        with torch.no_grad():
            small = {head: modules[head](*maps) for head in HEADS}
    assert 0 < counter.get_total_flops() / 2 <= 260e6
    with torch.no_grad():
        large = {head: net[head](*features(net, image)) for head in HEADS}
    masks = small["segmentation"] > 0.5, large["segmentation"] > 0.5
    assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() > 0.97, "it sees the same person"
    assert (small["depth"] - large["depth"])[masks[1]].abs().mean() < 0.05


def test_model_toml_names_these_weights_and_modules(net: dict[str, nn.Module]) -> None:
    spec = tomllib.loads((MODEL / "model.toml").read_text())
    assert spec["weights"]["sha256"] == sha256_file(MODEL / spec["weights"]["path"])
    assert list(spec["modules"]) == list(net)
    assert spec["factory"] == "reference.portrait:build"


def _levels() -> zip[tuple[int, int]]:
    return zip(FEATURE_CHANNELS, FEATURE_STRIDES, strict=True)
