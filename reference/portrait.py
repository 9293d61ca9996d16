"""The portrait models' factories, named by models/portrait/model.toml and models/portrait-slim/model.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from hydramobile.errors import StageError
from reference.hydra import FULL_MIDDLES, FULL_WIDTH, DepthHead, Encoder, NormalsHead, SegmentationHead

# Channels of each block and width of the decoders that pruning 0.3.0 to 260 MMAC at 256x192 left.
SLIM_MIDDLES = (32, 24, 40, 72, 64, 232, 312, 280, 416, 448, 416, 288, 288, 288, 288, 288)
SLIM_WIDTH = 32


def build() -> dict[str, nn.Module]:
    """Return the portrait Hydra's modules in eval mode, untrained; positional tensors are in model.toml's order.

    encoder(image) -> (f2, f4, f8, f16, f32); depth(f2..f32) -> depth; segmentation(f2..f32) -> alpha.
    The loader fills in the weights from weights.safetensors.
    """
    return shaped(FULL_MIDDLES, FULL_WIDTH)


def build_slim() -> dict[str, nn.Module]:
    """Return the slim portrait's modules: the same net with the channels that `python -m reference prune` kept."""
    return shaped(SLIM_MIDDLES, SLIM_WIDTH)


def shaped(middles: Sequence[int], width: int) -> dict[str, nn.Module]:
    """Return the modules with `middles` channels in the blocks' depthwise convolutions and decoders of `width`."""
    modules: dict[str, nn.Module] = {
        "encoder": Encoder(middles),
        "depth": DepthHead(width),
        "segmentation": SegmentationHead(width),
    }
    return {name: module.eval() for name, module in modules.items()}


# Heads beyond the first two, by name: a weights file has them or has them not.
FURTHER_HEADS = {"normals": NormalsHead}


def shaped_as(weights: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """Return modules that fit `weights`, full or pruned; the numbers of channels are read from the tensors' shapes.

    Raises StageError("weights") for tensors of another net.
    """
    try:
        middles = [weights[f"encoder.blocks.{i}.depthwise.conv.weight"].shape[0] for i in range(len(FULL_MIDDLES))]
        width = weights["depth.decoder.context.weight"].shape[0]
    except KeyError as error:
        raise StageError("weights", f"not the weights of a portrait Hydra: {error} is missing") from error
    modules = shaped(middles, width)
    for name, head in FURTHER_HEADS.items():
        if any(key.startswith(f"{name}.") for key in weights):
            modules[name] = head(width).eval()
    return modules
