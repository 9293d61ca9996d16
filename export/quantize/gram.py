"""Gram matrices of the layers' inputs on the calibration samples, for rounding weights of few bits (gptq.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program, run_modules
from export.quantize.layers import Layer
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
# Inputs of one output channel beyond which a layer has no Gram matrix: memory grows with the square.
WIDEST = 2304


def gram_matrices(program: Program, layers: Sequence[Layer]) -> dict[str, Array]:
    """Return the Gram matrix of each layer by name: the sum of x x^T over samples and positions, float64.

    x are the elements that the weights of one output channel are multiplied with, [inputs]. Photos count twice, once
    mirrored. Linear layers and convolutions of one group have a Gram matrix. Other layers (depthwise convolutions, any
    other module with a weight) are not in the result; their weights are rounded to the nearest.
    Raises StageError("quantize") when the program has no calibration samples.
    """
    wanted = [layer for layer in layers if layer.key == "weight" and has_gram(layer)]
    if not wanted:
        return {}
    if not program.calibration:
        raise StageError("quantize", "weights of few bits are rounded with calibration samples, and there are none")
    sums: dict[str, torch.Tensor] = {}

    def hook(layer: Layer) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = unfold_input(module, inputs[0])
            product = rows.T @ rows
            sums[layer.name] = sums[layer.name] + product if layer.name in sums else product

        return add

    handles = [layer.owner.register_forward_pre_hook(hook(layer)) for layer in wanted]
    try:
        for tensors in program.calibration:
            run_mirrored(program, tensors)
    finally:
        for handle in handles:
            handle.remove()
    return {name: value.numpy().astype(np.float64) for name, value in sums.items()}


def run_mirrored(program: Program, tensors: Mapping[str, torch.Tensor]) -> None:
    """Run all modules on a calibration sample; where every input is a photo, run them on its mirror image too."""
    photos = [name for name in program.spec.inputs() if program.spec.tensors[name].kind == "rgb-photo"]
    inputs = {name: tensors[name].numpy() for name in program.spec.inputs()}
    run_modules(program.spec, program.modules, inputs)
    if photos and len(photos) == len(inputs):
        mirrored = {name: np.ascontiguousarray(value[..., ::-1]) for name, value in inputs.items()}
        run_modules(program.spec, program.modules, mirrored)


def has_gram(layer: Layer) -> bool:
    """Return whether the layer is linear, or a convolution of one group that pads with zeros, and not too wide."""
    from torch import nn

    owner = layer.owner
    flat = type(owner) is nn.Linear
    dense = type(owner) is nn.Conv2d and owner.groups == 1 and owner.padding_mode == "zeros"
    return (flat or (dense and not isinstance(owner.padding, str))) and layer.value[0].size <= WIDEST


def unfold_input(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the input of a linear layer or convolution as [positions, inputs of one output channel]."""
    from torch import nn
    from torch.nn import functional

    if isinstance(module, nn.Conv2d):
        if module.kernel_size == (1, 1) and module.stride == (1, 1) and module.padding == (0, 0):
            return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        unfolded = functional.unfold(
            x,
            module.kernel_size,
            dilation=module.dilation,
            padding=module.padding,  # type: ignore[arg-type]  # a tuple: `has_gram` excludes "same" and "valid"
            stride=module.stride,
        )
        return unfolded.permute(0, 2, 1).reshape(-1, unfolded.shape[1])
    return x.reshape(-1, x.shape[-1])
