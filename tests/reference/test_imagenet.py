"""ImageNet's encoder is loaded under the portrait's names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hydramobile.errors import StageError, UsageError
from reference.imagenet import FILE, published_name, start, start_file
from reference.portrait import build
from reference.training.checkpoint import load_named, named


def as_published() -> dict[str, torch.Tensor]:
    """Return tensors under the package's names, each filled with a different number."""
    torch.manual_seed(5)
    encoder = {k: v for k, v in named(build()).items() if k.startswith("encoder.")}
    tensors = {
        published_name(k.removeprefix("encoder.")): torch.full_like(v, float(i + 1))
        for i, (k, v) in enumerate(encoder.items())
    }
    return {**tensors, "_fc.weight": torch.zeros(1000, 1280)}


def test_every_tensor_of_the_encoder_comes_from_its_own_name_and_the_decoders_from_the_seed() -> None:
    published = as_published()
    assert len({float(v.flatten()[0]) for v in published.values()}) == len(published)
    tensors = start(published, 1)
    torch.testing.assert_close(tensors["encoder.stem.conv.weight"], published["_conv_stem.weight"])
    torch.testing.assert_close(
        tensors["encoder.blocks.15.project.norm.running_var"], published["_blocks.15._bn2.running_var"]
    )
    torch.testing.assert_close(tensors["encoder.blocks.0.depthwise.norm.bias"], published["_blocks.0._bn1.bias"])
    assert all(torch.equal(v, start(published, 1)[k]) for k, v in tensors.items())
    other = start(published, 2)
    assert torch.equal(other["encoder.stem.conv.weight"], tensors["encoder.stem.conv.weight"])
    assert not torch.equal(other["depth.decoder.context.weight"], tensors["depth.decoder.context.weight"])
    load_named(build(), tensors)


def test_a_tensor_that_is_missing_or_of_another_shape_is_named() -> None:
    published = as_published()
    with pytest.raises(StageError, match=r"_blocks\.3\._expand_conv\.weight, for encoder\.blocks\.3\.expand"):
        start({k: v for k, v in published.items() if k != "_blocks.3._expand_conv.weight"}, 1)
    with pytest.raises(StageError, match=r"_bn0\.bias is \(7,\), encoder\.stem\.norm\.bias is \(32,\)"):
        start({**published, "_bn0.bias": torch.zeros(7)}, 1)


def test_another_file_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="encoder fetches them"):
        start_file(tmp_path / "none.pth", tmp_path / "out.safetensors", 1)
    (tmp_path / "other.pth").write_bytes(b"not it")
    with pytest.raises(UsageError, match="its sha256 is"):
        start_file(tmp_path / "other.pth", tmp_path / "out.safetensors", 1)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.skipif(not FILE.is_file(), reason="no ImageNet weights here: bash scripts/setup.sh encoder fetches them")
def test_the_published_weights_give_features_of_a_trained_net(tmp_path: Path) -> None:
    start_file(FILE, tmp_path / "start.safetensors", 1)
    modules = build()
    load_named(modules, load_file(tmp_path / "start.safetensors"))
    with torch.inference_mode():
        features = modules["encoder"](torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)))
    # Norms keep features in range if they belong to their kernels; otherwise features explode within sixteen blocks.
    assert all(0.5 < float(f.std()) < 40 for f in features)
