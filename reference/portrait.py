"""The portrait models' factories, named by models/portrait/model.toml and models/portrait-slim/model.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from hydramobile.errors import StageError
from reference.hydra import FULL_MIDDLES, FULL_WIDTH, DepthHead, Encoder, SegmentationHead

# What pruning kept of 0.3.0 for 260 MMAC at 256x192: channels of each block, width of the decoders.
SLIM_MIDDLES = (32, 24, 40, 72, 64, 232, 312, 280, 416, 448, 416, 288, 288, 288, 288, 288)
SLIM_WIDTH = 32


def build() -> dict[str, nn.Module]:
    """The portrait Hydra's modules in eval mode, untrained; positional tensors as model.toml lists them.

    encoder(image) -> (f2, f4, f8, f16, f32); depth(f2..f32) -> depth; segmentation(f2..f32) -> alpha.
    The weights come from weights.safetensors, through the loader.
    """
    return shaped(FULL_MIDDLES, FULL_WIDTH)


def build_slim() -> dict[str, nn.Module]:
    """The slim portrait's modules: the same net with the channels that `python -m reference prune` left."""
    return shaped(SLIM_MIDDLES, SLIM_WIDTH)


def shaped(middles: Sequence[int], width: int) -> dict[str, nn.Module]:
    """The same with other numbers of channels: of each encoder block's depthwise convolution, and of the decoders."""
    modules: dict[str, nn.Module] = {
        "encoder": Encoder(middles),
        "depth": DepthHead(width),
        "segmentation": SegmentationHead(width),
    }
    return {name: module.eval() for name, module in modules.items()}


def shaped_as(weights: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """Modules that `weights` fit, full or pruned: the numbers of channels are read off the tensors.

    Raises StageError("weights") for tensors of another net.
    """
    try:
        middles = [weights[f"encoder.blocks.{i}.depthwise.conv.weight"].shape[0] for i in range(len(FULL_MIDDLES))]
        width = weights["depth.decoder.context.weight"].shape[0]
    except KeyError as error:
        raise StageError("weights", f"these are no weights of a portrait Hydra: {error} is missing") from error
    return shaped(middles, width)
