"""Training precision: bf16 where the CPU has it, float32 elsewhere and where bf16 is slower or too coarse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from reference.hydra import ConvNormAct


def cpu_has_bf16() -> bool:
    """Return whether this CPU multiplies bf16 in hardware (AVX512-BF16, AMX); emulated bf16 is slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16", False)) or bool(capabilities.get("amx_bf16", False))


def autocast(bf16: bool) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()


def keep_float32(modules: Iterable[nn.Module]) -> None:
    """Make depthwise and last convolutions compute in float32 under autocast.

    oneDNN's bf16 backward of depthwise convolutions is 2 to 13 times slower than float32, and a last convolution in
    bf16 quantizes the maps to 256 steps.
    """
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d) and (layer.groups > 1 or layer.out_channels == 1):
                # Patches this instance only, so the keys of the state dict do not change.
                layer.forward = partial(_float32, layer)  # type: ignore[method-assign]  # meant


def choose_precision(modules: Iterable[nn.Module]) -> bool:
    """Patch modules for the fastest arithmetic on this CPU; return whether it is bf16, to be used under `autocast`."""
    bf16 = cpu_has_bf16()
    (keep_float32 if bf16 else fold_norms)(modules)
    return bf16


def _float32(layer: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        output: Tensor = layer._conv_forward(x.float(), layer.weight, layer.bias)
    return output


def fold_norms(modules: Iterable[nn.Module]) -> None:
    """Patch every `ConvNormAct` to compute one convolution, with the norm (in eval mode here) folded into its kernel.

    Function and gradients stay the same. A float32 step takes a tenth less time, since no map passes a norm of its own,
    forwards or backwards.
    """
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, ConvNormAct):
                layer.forward = partial(_folded, layer)  # type: ignore[method-assign]  # meant, on this instance alone


def _folded(layer: ConvNormAct, x: Tensor) -> Tensor:
    conv, norm = layer.conv, layer.norm
    assert norm.running_mean is not None and norm.running_var is not None  # tracked: BatchNorm2d's default
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    kernel = conv.weight * scale[:, None, None, None]
    output: Tensor = layer.act(conv._conv_forward(x, kernel, norm.bias - norm.running_mean * scale))
    return output
