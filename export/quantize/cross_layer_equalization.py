"""Cross-layer equalization before static int8 (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization
and Bias Correction").

Integer activations share one scale per tensor, so a channel of small values uses few of the 256 steps. Between two
convolutions with a ReLU in between, channel c may be divided by any s > 0 in the first and multiplied by it in the
second: relu(x / s) * s = relu(x). The paper chooses s by the ranges of both weights. Here weights have a scale per
channel, so scaling the first one costs nothing, and s equalizes activations instead: it brings channel c near the
largest range of any channel. Before a depthwise convolution, which has a scale for that channel, s is the full factor.
Before other convolutions it is the square root of the factor over the range of the weights that read the channel (as in
SmoothQuant, Xiao et al. 2023). Scales are powers of two, so that dividing and multiplying round nothing.

A ReLU6 does not commute with s: it would clip at 6 / s. Channels that come near 6 on the calibration samples are left
alone, and the others stay well below it. So every ReLU6 stays where it is and runtimes can fuse it, and the float
function is the same on every input that drives no moved channel beyond the calibration samples by more than a third.

The biases are corrected afterwards (bias_correction.py).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.bias_correction import correct_biases
from export.quantize.convolutions import ModuleGraph, Moments, clip_limit, export_module, groups_of, observe_moments
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

STAGE = "equalize"
Array = NDArray[Any]
# An equalized channel stays below this share of the value at which a ReLU6 clips: other inputs may drive it higher.
ROOM = 0.75
# A channel that comes within this share of the clipping value may be clipped already, and is not scaled.
NEAR = 0.98
# The largest factor of a channel.
MOST = 64.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two convolutions with a rectifier in between; no other node reads the tensors between them.

    `limit` is the value at which the rectifier clips, or infinity.
    """

    first: Node
    rectifier: Node
    second: Node
    limit: float


@dataclass(frozen=True, slots=True)
class Equalized:
    """The program with equalized modules, and the counts of scaled pairs and channels and of corrected biases."""

    program: Program
    pairs: int
    channels: int
    biases: int

    @property
    def note(self) -> str:
        return (
            f"before quantization {self.channels} channels between {self.pairs} pairs of convolutions were equalized "
            f"and {self.biases} biases corrected"
        )


def equalize(program: Program, bits: int) -> Equalized:
    """Return a copy of the program, equalized, with biases corrected for weights of `bits` with a scale per channel.

    A module that torch.export refuses is copied unchanged. Raises StageError("equalize") without calibration samples.
    """
    if not program.calibration:
        raise StageError(STAGE, "equalizing needs calibration samples, and the program has none")
    result = replace(program, modules={name: copy.deepcopy(module) for name, module in program.modules.items()})
    pairs = channels = biases = 0
    for name in program.spec.modules:
        entry = program.spec.entries[name]
        graph = export_module(result, entry, name)
        if graph is None:
            continue
        moments = observe_moments(result, entry, graph)
        for pair in find_pairs(graph):
            scaled = scale_channels(graph, pair, moments)
            pairs, channels = pairs + bool(scaled), channels + scaled
        # Exported anew, so that the means are measured with the scaled parameters.
        graph = export_module(result, entry, name)
        if graph is not None:
            biases += correct_biases(result, entry, graph, bits)
    return Equalized(result, pairs, channels, biases)


def find_pairs(graph: ModuleGraph) -> Iterator[Pair]:
    """Yield the pairs of convolutions that can be equalized, in the order of the graph."""
    owned = [node for node in graph.convolutions() if graph.owns(node)]
    for first in owned:
        rectifier = next(iter(first.users), None)
        limit = clip_limit(rectifier) if rectifier is not None and len(first.users) == 1 else None
        if rectifier is None or limit is None or len(rectifier.users) != 1:
            continue
        second = next(iter(rectifier.users))
        if second in owned and second.args[0] is rectifier:
            yield Pair(first, rectifier, second, limit)


def scale_channels(graph: ModuleGraph, pair: Pair, moments: Mapping[str, Moments]) -> int:
    """Equalize one pair in place. Return the number of scaled channels."""
    import torch

    weight, bias = graph.parameter(pair.first, 1), graph.parameter(pair.first, 2)
    reader = graph.parameter(pair.second, 1)
    activations = moments.get(pair.rectifier.name)
    if weight is None or reader is None or activations is None or len(activations.peak) != weight.shape[0]:
        return 0
    channels, groups = weight.shape[0], groups_of(pair.second)
    if groups not in (1, channels):
        return 0
    reading = None if groups == channels else reading_ranges(reader)
    scales = choose_scales(activations.peak, reading, pair.limit)
    factor = torch.from_numpy(scales)
    along = (-1, *(1,) * (weight.ndim - 1))
    with torch.no_grad():
        weight.copy_((weight.double() / factor.reshape(along)).to(weight.dtype))
        if bias is not None:
            bias.copy_((bias.double() / factor).to(bias.dtype))
        if groups == 1:
            spread = factor.reshape(1, -1, *(1,) * (reader.ndim - 2))
        else:
            spread = factor.repeat_interleave(reader.shape[0] // channels).reshape(along)
        reader.copy_((reader.double() * spread).to(reader.dtype))
    return int(np.sum(scales != 1))


def reading_ranges(weight: torch.Tensor) -> Array:
    """Return the largest absolute weight that reads each input channel, [inputs].

    Each weight counts as a share of the largest weight of its output channel, which has a scale of its own.
    """
    rows = weight.detach().double().abs().flatten(2).amax(2).numpy()
    ranges: Array = np.max(rows / np.maximum(rows.max(axis=1, keepdims=True), 1e-30), axis=0)
    return ranges


def choose_scales(peak: Array, reading: Array | None, limit: float) -> Array:
    """Return the divisor of each channel: a power of two, at most 1, so that channels are only raised.

    `peak` is the largest element of each channel, `limit` the value at which the rectifier clips. `reading` is the
    range of the weights that read each channel; None where those weights have a scale per such channel.
    """
    alive = (peak > 0) & (peak < limit * NEAR)
    if not alive.any():
        return np.ones_like(peak)
    target = min(float(peak.max()), limit * ROOM)
    wanted = np.where(alive, peak, target) / target
    if reading is not None:
        wanted = np.sqrt(wanted / np.maximum(reading / max(float(reading.max()), 1e-30), 1e-6))
    # A channel raised beyond the target would be clipped, or would set the range of the whole tensor.
    wanted = np.clip(np.maximum(wanted, peak / target), 1 / MOST, 1.0)
    return np.where(alive, np.minimum(2.0 ** np.ceil(np.log2(wanted) - 1e-9), 1.0), 1.0)
