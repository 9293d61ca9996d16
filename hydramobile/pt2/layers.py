"""Recognize ops of an archive that were layers of torch.nn: convolutions, linear layers, embeddings, batch norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hydramobile.pt2.archive import Archive

CONVOLUTIONS: dict[str, type[nn.Module]] = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
    "conv_transpose1d": nn.ConvTranspose1d,
    "conv_transpose2d": nn.ConvTranspose2d,
    "conv_transpose3d": nn.ConvTranspose3d,
}
NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
NORM_STATE = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer at `path` of the net; `data` is the index of the op's argument that it takes."""

    path: str
    module: nn.Module
    data: int = 0


def layer_of(call: Callable[..., Any], args: Sequence[Any], archive: Archive, rank: int) -> Layer | None:
    """Return the layer of a call, or None.

    Tensors of `args` are paths in the state. `rank` is the rank of the first argument, 0 where it is not known.
    """
    if not isinstance(call, torch._ops.OpOverload) or call.namespace != "aten":
        return None
    name = call._opname
    if name == "embedding" and len(args) >= 2 and args[0]:
        return owned(args[0], (args[0],), archive, embedding, 1)
    if name == "linear" and len(args) >= 2 and args[1]:
        return owned(args[1], args[1:3], archive, linear)
    if name in CONVOLUTIONS and len(args) >= 2 and args[1]:
        return owned(args[1], args[1:3], archive, lambda shape, bias: convolution(name, shape, bias, args[3:]))
    if name == "batch_norm" and len(args) >= 8 and all(args[1:5]) and rank in NORMS:
        return owned(args[1], args[1:5], archive, lambda shape, bias: batch_norm(NORMS[rank], shape, args[7]))
    return None


def owned(
    weight: str, tensors: Sequence[Any], archive: Archive, make: Callable[[torch.Size, bool], nn.Module], data: int = 0
) -> Layer | None:
    """Return the layer if its tensors are `weight`, `bias`, ... of one module and have their shapes, else None."""
    path, _, name = weight.rpartition(".")
    expected = [f"{path}.{key}" for key in NORM_STATE[: len(tensors)]]
    if (
        not path
        or name != "weight"
        or any(item is not None and item != key for item, key in zip(tensors, expected, strict=True))
    ):
        return None
    value = archive.state.get(weight)
    if value is None or value.dtype != torch.float32:
        return None
    module = make(value.shape, len(tensors) > 1 and tensors[1] is not None)
    for key, item in zip(NORM_STATE, tensors, strict=False):
        stored = archive.state.get(item) if item else None
        if item and (stored is None or stored.shape != getattr(module, key).shape):
            return None
    return Layer(path, module.eval().requires_grad_(False), data)


def embedding(shape: torch.Size, bias: bool) -> nn.Module:
    return nn.Embedding(shape[0], shape[1], _weight=torch.zeros(shape))


def linear(shape: torch.Size, bias: bool) -> nn.Module:
    return nn.Linear(shape[1], shape[0], bias=bias)


def convolution(name: str, shape: torch.Size, bias: bool, rest: Sequence[Any]) -> nn.Module:
    """Return a convolution of the op's arguments after the bias; transposed ones have an output padding."""
    rank = len(shape) - 2
    transposed = "transpose" in name
    defaults: list[Any] = [[1], [0], [0], 1, [1]] if transposed else [[1], [0], [1], 1]
    given: list[Any] = [item if isinstance(item, str | int) else spread(item, rank) for item in rest]
    given += [item if isinstance(item, int) else spread(item, rank) for item in defaults[len(rest) :]]
    names = (
        ("stride", "padding", "output_padding", "groups", "dilation")
        if transposed
        else ("stride", "padding", "dilation", "groups")
    )
    options = dict(zip(names, given, strict=True))
    wide = shape[1] * options["groups"]
    widths = (shape[0], wide) if transposed else (wide, shape[0])
    made: nn.Module = CONVOLUTIONS[name](*widths, kernel_size=tuple(shape[2:]), bias=bias, **options)
    return made


def spread(value: Sequence[int], rank: int) -> tuple[int, ...]:
    return tuple(value) * rank if len(value) == 1 else tuple(value)


def batch_norm(kind: type[nn.Module], shape: torch.Size, eps: float) -> nn.Module:
    return kind(shape[0], eps=eps)
