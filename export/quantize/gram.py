"""What goes into a layer on the calibration samples: its inputs' Gram matrix, for rounding weights of few bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.gptq import WIDEST
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import torch

    from export.quantize.layers import Layer

Array = NDArray[Any]


def gram_matrices(program: Program, layers: Sequence[Layer]) -> dict[str, Array]:
    """The sum of x x^T over samples and places, by layer, x what one output channel's weights are multiplied with.

    Photos count twice, once mirrored. Convolutions of one group and linear layers have one; others (depthwise filters,
    anything else that holds a weight) are not in the result: their weights are rounded to the nearest.
    Raises StageError("quantize") when the program was not calibrated.
    """
    wanted = [layer for layer in layers if layer.key == "weight" and has_gram(layer)]
    if not wanted:
        return {}
    if not program.calibration:
        raise StageError("quantize", "weights of few bits are rounded with calibration samples, and there are none")
    found: dict[str, torch.Tensor] = {}

    def hook(layer: Layer) -> Any:
        def see(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            rows = columns(module, given[0])
            made = rows.T @ rows
            found[layer.name] = found[layer.name] + made if layer.name in found else made

        return see

    placed = [layer.owner.register_forward_pre_hook(hook(layer)) for layer in wanted]
    try:
        for tensors in program.calibration:
            run_mirrored(program, tensors)
    finally:
        for handle in placed:
            handle.remove()
    return {name: value.numpy().astype(np.float64) for name, value in found.items()}


def run_mirrored(program: Program, tensors: Any) -> None:
    """Run all modules on a calibration sample and on its mirror image, where its inputs are photos."""
    from export.program import run_modules

    photos = [name for name in program.spec.inputs() if program.spec.tensors[name].kind == "rgb-photo"]
    inputs = {name: tensors[name].numpy() for name in program.spec.inputs()}
    run_modules(program.spec, program.modules, inputs)
    if photos and len(photos) == len(inputs):
        mirrored = {name: np.ascontiguousarray(value[..., ::-1]) for name, value in inputs.items()}
        run_modules(program.spec, program.modules, mirrored)


def has_gram(layer: Layer) -> bool:
    from torch import nn

    owner = layer.owner
    flat = type(owner) is nn.Linear
    dense = type(owner) is nn.Conv2d and owner.groups == 1 and owner.padding_mode == "zeros"
    return (flat or (dense and not isinstance(owner.padding, str))) and layer.value[0].size <= WIDEST


def columns(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """[places, inputs of one output] of a linear layer or convolution."""
    from torch import nn
    from torch.nn import functional

    if isinstance(module, nn.Conv2d):
        if module.kernel_size == (1, 1) and module.stride == (1, 1) and module.padding == (0, 0):
            return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        unfolded = functional.unfold(
            x,
            module.kernel_size,
            dilation=module.dilation,
            padding=module.padding,  # type: ignore[arg-type]  # a tuple: `has_gram` leaves words out
            stride=module.stride,
        )
        return unfolded.permute(0, 2, 1).reshape(-1, unfolded.shape[1])
    return x.reshape(-1, x.shape[-1])
