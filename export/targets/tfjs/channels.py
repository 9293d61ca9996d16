"""Store 8-bit kernels with one scale per output channel, which the format itself does not have.

A graph model stores one scale per tensor. Under w8, depthwise and small kernels therefore keep 16 bits, because the
ranges of their channels differ most. Under w8g1 each of these kernels is the product of codes in one range for all
channels and a vector of scales. This costs a Mul node of as many elements as the kernel in every run, because TF.js
folds no constants when it loads a model. Large kernels would gain little and cost most, so they are stored as under w8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from export.targets.tfjs.graph import Array
from export.targets.tfjs.lower import Lowered, Weight

# The axes of the output channels in the kernel (operand 1) of each op.
AXES: Mapping[str, tuple[int, ...]] = {
    "_FusedConv2D": (3,),
    "Conv2D": (3,),
    "FusedDepthwiseConv2dNative": (2, 3),
    "DepthwiseConv2dNative": (2, 3),
}
# Codes are -127..127 times a power of two, so that 0 is a code and decoding is exact.
STEP = 2.0**-7
ZERO = 128
CODES, SCALES = "codes", "scales"


def channel_axes(nodes: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Map each kernel to the axes of its output channels; a kernel that another op reads as well is left out."""
    axes_of: dict[str, tuple[int, ...] | None] = {}
    for node in nodes:
        for index, name in enumerate(node.get("input", ())):
            axes = AXES.get(node["op"]) if index == 1 else None
            axes_of[name] = axes if axes_of.get(name, axes) == axes else None
    return {name: axes for name, axes in axes_of.items() if axes}


def split(lowered: Lowered, chosen: Mapping[str, tuple[int, ...]]) -> tuple[Lowered, dict[str, Array]]:
    """Replace each kernel of `chosen` by a product. Return the graph, and the uint8 codes by weight name.

    Before: Const "<name>".
    After: Const "<name>/codes", Const "<name>/scales", Mul "<name>".

    The weight "<name>/codes" holds codes times `STEP`. Decoded with that scale, it is the kernel with each channel
    scaled to [-1, 1].
    """
    nodes: list[dict[str, Any]] = []
    weights: dict[str, Weight] = {weight.name: weight for weight in lowered.weights}
    kept: dict[str, Weight] = {}
    codes: dict[str, Array] = {}
    for node in lowered.nodes:
        name = node["name"]
        if name not in chosen or node["op"] != "Const":
            nodes.append(node)
            if name in weights:
                kept[name] = weights[name]
            continue
        integers, scales = quantize_channels(weights[name].value, chosen[name])
        factors = {f"{name}/{CODES}": (integers - ZERO) * np.float32(STEP), f"{name}/{SCALES}": scales}
        for factor, value in factors.items():
            kept[factor] = Weight(factor, value.astype(np.float32), False)
            nodes.append(const_node(factor, value))
        nodes.append({"name": name, "op": "Mul", "input": [*factors], "attr": {"T": {"type": "DT_FLOAT"}}})
        codes[f"{name}/{CODES}"] = integers
    return Lowered(tuple(nodes), tuple(kept.values())), codes


def quantize_channels(kernel: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return uint8 codes 1..255, where 128 is zero, and scales that broadcast to the kernel.

    `axes` are the axes of the output channels. A channel of zeros has the scale 0.
    """
    others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    peak = np.abs(kernel).max(axis=others, keepdims=True)
    scales = (peak / (127 * STEP)).astype(np.float32)
    steps = kernel / np.where(scales > 0, scales * np.float32(STEP), 1)
    return (np.clip(np.rint(steps), -127, 127) + ZERO).astype(np.uint8), scales.reshape(scales.shape)


def const_node(name: str, value: Array) -> dict[str, Any]:
    """Return the NodeDef of a float32 Const in JSON; its value is in the weights manifest."""
    shape = {"dim": [{"size": str(size)} for size in value.shape]}
    attr = {"dtype": {"type": "DT_FLOAT"}, "value": {"tensor": {"dtype": "DT_FLOAT", "tensorShape": shape}}}
    return {"name": name, "op": "Const", "attr": attr}
