"""The portrait model's factory, named by models/portrait/model.toml."""

from __future__ import annotations

from torch import nn

from reference.hydra import DepthHead, Encoder, SegmentationHead


def build() -> dict[str, nn.Module]:
    """The portrait Hydra's modules in eval mode, untrained; positional tensors as model.toml lists them.

    encoder(image) -> (f2, f4, f8, f16, f32); depth(f2..f32) -> depth; segmentation(f2..f32) -> alpha.
    The weights come from weights.safetensors, through the loader.
    """
    modules: dict[str, nn.Module] = {"encoder": Encoder(), "depth": DepthHead(), "segmentation": SegmentationHead()}
    return {name: module.eval() for name, module in modules.items()}
