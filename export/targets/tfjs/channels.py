"""8 bits with a scale an output channel, which the format itself has not: the product of codes and scales in the graph.

A graph model stores one scale a tensor. Depthwise and small kernels, whose channels differ most, therefore keep 16 bits
under w8; under w8g1 they are codes in one range for all channels, times a vector of scales: a Mul node of as many
values as the kernel has, at every run, since TF.js folds nothing when it loads. Large kernels gain little and would
cost most: they stay as under w8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from export.targets.tfjs.graph import Array
from export.targets.tfjs.lower import Lowered, Weight

# Axes of the output channels in each operator's kernel, which is its second input.
AXES: Mapping[str, tuple[int, ...]] = {
    "_FusedConv2D": (3,),
    "Conv2D": (3,),
    "FusedDepthwiseConv2dNative": (2, 3),
    "DepthwiseConv2dNative": (2, 3),
}
# Codes are -127..127 in steps of a power of two: zero is a code, and reading them back loses nothing.
STEP = 2.0**-7
ZERO = 128
CODES, SCALES = "codes", "scales"


def channel_axes(nodes: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    """Kernel name -> axes of its output channels, for kernels that only such operators read."""
    found: dict[str, tuple[int, ...] | None] = {}
    for node in nodes:
        for place, name in enumerate(node.get("input", ())):
            axes = AXES.get(node["op"]) if place == 1 else None
            found[name] = axes if found.get(name, axes) == axes else None
    return {name: axes for name, axes in found.items() if axes}


def split(lowered: Lowered, chosen: Mapping[str, tuple[int, ...]]) -> tuple[Lowered, dict[str, Array]]:
    """The graph with every `chosen` kernel made of "<name>/codes" and "<name>/scales"; and the codes by that name.

    The weight "<name>/codes" holds codes times `STEP`, so that whoever decodes it with that scale gets the kernel's
    channels, each brought to [-1, 1].
    """
    nodes: list[dict[str, Any]] = []
    weights: dict[str, Weight] = {weight.name: weight for weight in lowered.weights}
    made: dict[str, Weight] = {}
    codes: dict[str, Array] = {}
    for node in lowered.nodes:
        name = node["name"]
        if name not in chosen or node["op"] != "Const":
            nodes.append(node)
            if name in weights:
                made[name] = weights[name]
            continue
        integers, scales = coded(weights[name].value, chosen[name])
        parts = {f"{name}/{CODES}": (integers - ZERO) * np.float32(STEP), f"{name}/{SCALES}": scales}
        for part, value in parts.items():
            made[part] = Weight(part, value.astype(np.float32), False)
            nodes.append(const(part, value))
        nodes.append({"name": name, "op": "Mul", "input": [*parts], "attr": {"T": {"type": "DT_FLOAT"}}})
        codes[f"{name}/{CODES}"] = integers
    return Lowered(tuple(nodes), tuple(made.values())), codes


def coded(kernel: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """(codes 1..255 with zero at 128, scales that broadcast against the kernel); a channel of zeros has the scale 0."""
    others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    peak = np.abs(kernel).max(axis=others, keepdims=True)
    scales = (peak / (127 * STEP)).astype(np.float32)
    steps = kernel / np.where(scales > 0, scales * np.float32(STEP), 1)
    return (np.clip(np.rint(steps), -127, 127) + ZERO).astype(np.uint8), scales.reshape(scales.shape)


def const(name: str, value: Array) -> dict[str, Any]:
    shape = {"dim": [{"size": str(size)} for size in value.shape]}
    attr = {"dtype": {"type": "DT_FLOAT"}, "value": {"tensor": {"dtype": "DT_FLOAT", "tensorShape": shape}}}
    return {"name": name, "op": "Const", "attr": attr}
