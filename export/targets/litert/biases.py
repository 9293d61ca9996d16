"""Quantizer fix: biases of channels whose weights are almost zero.

Symptom: a channel with a large bias and tiny weights comes out at the wrong end of its range, or `RuntimeWarning:
invalid value encountered in cast`.
Cause: a bias is stored as int32 in steps of (input scale * weight scale). ai-edge-quantizer 0.10 derives the weight
scale from the weights alone, however small, and clips biases that do not fit in 32 bits. In float32 the upper limit is
2**31, which the cast turns into -2**31, the other sign. Dead channels behind a ReLU6 are the usual victims.
Retired by: a quantizer that widens the weight scale until the bias fits, as ONNX Runtime's does (then remove this file;
test_litert_w8a8.py keeps the net).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.targets.litert import flatbuffer

# Indices of the input, weight and bias among an operator's operands.
POSITIONS = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "CONV_3D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
INT32 = 2
# Suffixes that the quantizer appends to the name of a constant that it copies, once or for each of several readers.
COPY = re.compile(r"(_duplicated(_\d+)?)?(_quantized)?$")
# Half of what int32 holds: the sum over a layer's inputs is added to the bias.
LARGEST = 2.0**30


class FloatConstants:
    """The float32 constants of a graph before it was quantized, found by the tensors after."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model = model
        self.tensors = {flatbuffer.text(tensor.name): tensor for tensor in graph.tensors}

    def value(self, tensor: Any) -> NDArray[np.float64]:
        """Return the float constant that `tensor` was before it was quantized or copied."""
        name = flatbuffer.text(tensor.name)
        original = self.tensors[name if name in self.tensors else COPY.sub("", name)]
        data = np.frombuffer(bytes(bytearray(self.model.buffers[original.buffer].data)), np.float32)
        return data.reshape([int(size) for size in original.shape]).astype(np.float64)


def widen_scales(model: Any, floats: Any) -> None:
    """Widen the weight scales of channels whose bias does not fit, in place.

    `floats` is the file before quantization. Weights and biases of these channels are rounded anew; all others stay.
    """
    for graph, before in zip(model.subgraphs, floats.subgraphs, strict=True):
        constants = FloatConstants(floats, before)
        layers = list(integer_layers(model, graph))
        needed: dict[int, NDArray[np.float64]] = {}
        for source, weight, bias in layers:
            least = np.abs(constants.value(graph.tensors[bias])) / (LARGEST * scale(graph.tensors[source])[0])
            needed[weight] = np.maximum(needed.get(weight, 0.0), least)
        for weight, least in needed.items():
            tensor = graph.tensors[weight]
            scales = scale(tensor)
            wanted = np.maximum(scales, least if len(scales) > 1 else least.max())
            if np.array_equal(wanted, scales):
                continue
            set_weight(model, tensor, constants.value(tensor), wanted.astype(np.float32))
            for source, _, bias in (layer for layer in layers if layer[1] == weight):
                value = constants.value(graph.tensors[bias])
                set_bias(model, graph.tensors[bias], value, scale(graph.tensors[source])[0] * scale(tensor))


def integer_layers(model: Any, graph: Any) -> list[tuple[int, int, int]]:
    """Return the tensor indices of the (input, weight, bias) of every operator with an int32 bias."""
    layers = []
    for operator in graph.operators:
        positions = POSITIONS.get(flatbuffer.opcode(model, operator), ())
        if not positions or max(positions) >= len(operator.inputs):
            continue
        source, weight, bias = (int(operator.inputs[position]) for position in positions)
        if bias >= 0 and graph.tensors[bias].type == INT32:
            layers.append((source, weight, bias))
    return layers


def scale(tensor: Any) -> NDArray[np.float64]:
    """Return the scales of a quantized tensor: one, or one per channel."""
    return np.asarray(tensor.quantization.scale, np.float64)


def set_weight(model: Any, tensor: Any, value: NDArray[np.float64], scales: NDArray[np.float32]) -> None:
    """Store `value` as int8 with `scales`."""
    shape = [1] * value.ndim
    shape[int(tensor.quantization.quantizedDimension)] = -1
    tensor.quantization.scale = scales
    codes = np.rint(value / scales.astype(np.float64).reshape(shape if len(scales) > 1 else [1] * value.ndim))
    flatbuffer.store(model, tensor, np.clip(codes, -127, 127).astype(np.int8))


def set_bias(model: Any, tensor: Any, value: NDArray[np.float64], scales: NDArray[np.float64]) -> None:
    """Store `value` as int32 with `scales`."""
    tensor.quantization.scale = scales.astype(np.float32)
    flatbuffer.store(model, tensor, np.clip(np.rint(value / scales), -LARGEST, LARGEST).astype(np.int32))
