"""Quantizer fix: biases of channels whose weights are almost zero.

Symptom: a channel with a large bias and tiny weights comes out at the wrong end of its range, or `RuntimeWarning:
invalid value encountered in cast`.
Cause: a bias is stored as int32 in steps of (input scale * weight scale). ai-edge-quantizer 0.10 takes the weight
scale from the weights alone, however small, and clips what does not fit in 32 bits; in float32 the upper limit is
2**31, which the cast turns into -2**31: the other sign. Dead channels behind a ReLU6 are the usual victims.
Retired by: a quantizer that widens the weight scale to what the bias needs, as ONNX Runtime's does (remove this file;
test_litert_w8a8.py keeps the net).
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.targets.litert import flatbuffer

# Where the operators with weights have their input, weight and bias.
POSITIONS = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "CONV_3D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
INT32 = 2
# What the quantizer appends to the name of a constant that it copies, once or for each of several readers.
COPY = re.compile(r"(_duplicated(_\d+)?)?(_quantized)?$")
# Half of what int32 holds: the sum over a layer's inputs is added to the bias.
LARGEST = 2.0**30


def widen_scales(model: Any, floats: Any) -> None:
    """Widen the weight scales of channels whose bias does not fit, in place; `floats` is the file before quantization.

    A weight keeps its tensor and its bias too; only the channels that need it change.
    """
    for graph, before in zip(model.subgraphs, floats.subgraphs, strict=True):
        numbers = {flatbuffer.text(tensor.name): number for number, tensor in enumerate(before.tensors)}
        layers = list(integer_layers(model, graph))
        needed: dict[int, NDArray[np.float64]] = {}
        for source, weight, bias in layers:
            truth = float_values(floats, before, numbers, graph.tensors[bias])
            least = np.abs(truth) / (LARGEST * scale(graph.tensors[source])[0])
            needed[weight] = np.maximum(needed.get(weight, 0.0), least)
        for weight, least in needed.items():
            tensor = graph.tensors[weight]
            scales = scale(tensor)
            wanted = np.maximum(scales, least if len(scales) > 1 else least.max())
            if np.array_equal(wanted, scales):
                continue
            truth = float_values(floats, before, numbers, tensor)
            set_weight(model, tensor, truth, wanted.astype(np.float32))
            for source, _, bias in (layer for layer in layers if layer[1] == weight):
                truth = float_values(floats, before, numbers, graph.tensors[bias])
                set_bias(model, graph.tensors[bias], truth, scale(graph.tensors[source])[0] * scale(tensor))


def integer_layers(model: Any, graph: Any) -> list[tuple[int, int, int]]:
    """Tensor numbers of the (input, weight, bias) of every operator with an int32 bias."""
    found = []
    for operator in graph.operators:
        places = POSITIONS.get(flatbuffer.opcode(model, operator), ())
        if not places or max(places) >= len(operator.inputs):
            continue
        source, weight, bias = (int(operator.inputs[place]) for place in places)
        if bias >= 0 and graph.tensors[bias].type == INT32:
            found.append((source, weight, bias))
    return found


def scale(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.quantization.scale, np.float64)


def float_values(floats: Any, before: Any, numbers: dict[str, int], tensor: Any) -> NDArray[np.float64]:
    """What a constant was before it was quantized; of a copy the quantizer made, the original."""
    name = flatbuffer.text(tensor.name)
    found = before.tensors[numbers[name if name in numbers else COPY.sub("", name)]]
    data = np.frombuffer(bytes(bytearray(floats.buffers[found.buffer].data)), np.float32)
    return data.reshape([int(size) for size in found.shape]).astype(np.float64)


def set_weight(model: Any, tensor: Any, truth: NDArray[np.float64], scales: NDArray[np.float32]) -> None:
    shape = [1] * truth.ndim
    shape[int(tensor.quantization.quantizedDimension)] = -1
    tensor.quantization.scale = scales
    values = np.rint(truth / scales.astype(np.float64).reshape(shape if len(scales) > 1 else [1] * truth.ndim))
    flatbuffer.store(model, tensor, np.clip(values, -127, 127).astype(np.int8))


def set_bias(model: Any, tensor: Any, truth: NDArray[np.float64], scales: NDArray[np.float64]) -> None:
    tensor.quantization.scale = scales.astype(np.float32)
    flatbuffer.store(model, tensor, np.clip(np.rint(truth / scales), -LARGEST, LARGEST).astype(np.int32))
