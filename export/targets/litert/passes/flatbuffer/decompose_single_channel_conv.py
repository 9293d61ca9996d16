"""Decompose a float CONV_2D with one output channel, the last convolution of every dense head.

Before: CONV_2D, weight [1, h, w, c]
After:  CONV_2D, weight [h * w, 1, 1, c]                          one output channel per tap of the kernel
        DEPTHWISE_CONV_2D, one-hot weights [1, h, w, h * w]       moves each channel to the pixel of its tap
        CONV_2D, ones [1, 1, 1, h * w], the bias and activation   sums the channels

Symptom: a 3x3 convolution from 24 channels to one, at half the photo's size, takes a quarter of a head's time in
float32, and more in int8, where the last convolution stays float.
Cause: the lanes of a kernel are output channels (16 with AVX-512), and this convolution has one. On ARM, where XNNPACK
has kernels of two output channels, little is won: docs/decisions/artifacts.md has the numbers. The products are the
same, summed in another order. The weight keeps its elements and its name.
Retired by: XNNPACK kernels of few output channels for x86.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from export.passes.base import PassResult
from export.targets.litert import flatbuffer
from export.targets.litert.edit import FLOAT32, add_constant, add_tensor, has_data, operator, shape_of

# The fewest lanes of the kernels that profit (AVX2). With more lanes, more is won.
LANES = 8
# Suffixes of the new tensors' names, after the name of the convolution's output.
TAPS, MOVED = "/taps", "/moved"
# The version of DEPTHWISE_CONV_2D that has dilation.
DILATED_VERSION = 2


def decompose_single_channel_conv(model: Any) -> PassResult[Any]:
    """Decompose the convolutions for which three operators cost fewer lanes than one."""
    modified = False
    for graph in model.subgraphs:
        operators: list[Any] = []
        for conv in graph.operators:
            chosen = is_worth_decomposing(model, graph, conv)
            operators += decompose(model, graph, conv) if chosen else [conv]
            modified |= chosen
        graph.operators = operators
    return PassResult(model, modified)


def is_worth_decomposing(model: Any, graph: Any, conv: Any) -> bool:
    """Return whether `conv` is a float convolution to one channel that gets cheaper, with a weight that only it reads.

    The cost is the number of products, in whole groups of LANES output channels, per output pixel.
    """
    if flatbuffer.opcode(model, conv) != "CONV_2D":
        return False
    source, weight, output = int(conv.inputs[0]), int(conv.inputs[1]), int(conv.outputs[0])
    shape = shape_of(graph, weight)
    if any(graph.tensors[index].type != FLOAT32 for index in (source, weight, output)) or shape[0] != 1:
        return False
    users = [other for other in graph.operators if weight in map(int, other.inputs)]
    grouped = shape_of(graph, source)[3] != shape[3]
    if len(users) != 1 or grouped or not weight_tensors(model, graph, weight):
        return False
    taps, channels = shape[1] * shape[2], shape[3]
    pixels_in_per_out = np.prod(shape_of(graph, source)[:3]) / np.prod(shape_of(graph, output)[:3])
    padded_taps = -(-taps // LANES) * LANES
    cost = (pixels_in_per_out * channels + taps) * padded_taps + taps * LANES
    return bool(cost < taps * channels * LANES)


def weight_tensors(model: Any, graph: Any, weight: int) -> list[int]:
    """Return the tensors that hold a constant weight: itself, or itself and the tensor that DEQUANTIZE reads.

    Empty where the weight is no constant, or has more than one scale, because scales belong to the output channels.
    """
    if has_data(model, graph, weight):
        return [weight]
    for candidate in graph.operators:
        if weight in map(int, candidate.outputs):
            stored = int(candidate.inputs[0])
            quantization = graph.tensors[stored].quantization
            scales = quantization.scale if quantization is not None else None
            per_channel = scales is not None and len(scales) > 1
            dequantizes = flatbuffer.opcode(model, candidate) == "DEQUANTIZE" and has_data(model, graph, stored)
            return [weight, stored] if dequantizes and not per_channel else []
    return []


def decompose(model: Any, graph: Any, conv: Any) -> list[Any]:
    """Reshape the weight of `conv`, add the new tensors, and return the three operators that replace it."""
    api = flatbuffer.schema()
    source, weight, *bias = (int(index) for index in conv.inputs)
    output, options = int(conv.outputs[0]), conv.builtinOptions
    _, height, width, channels = shape_of(graph, weight)
    taps, name = height * width, flatbuffer.text(graph.tensors[output].name)
    for index in weight_tensors(model, graph, weight):
        graph.tensors[index].shape = np.array([taps, 1, 1, channels], np.int32)
    per_tap = add_tensor(graph, output, name + TAPS, [*shape_of(graph, source)[:3], taps])
    moved = add_tensor(graph, output, name + MOVED, [*shape_of(graph, output)[:3], taps])
    # The suffixes become part of the file.
    zeros = add_constant(model, graph, f"{name}/zeros", np.zeros(taps, np.float32))
    one_hot = np.eye(taps, dtype=np.float32).reshape(1, height, width, taps)
    ones = add_constant(model, graph, f"{name}/ones", np.ones((1, 1, 1, taps), np.float32))
    geometry = ("padding", "strideW", "strideH", "dilationWFactor", "dilationHFactor")
    depthwise_options = {"depthMultiplier": 1} | {key: getattr(options, key) for key in geometry}

    def pointwise(inputs: list[int], result: int, activation: int) -> Any:
        fields = {"padding": api.Padding.VALID, "strideW": 1, "strideH": 1, "fusedActivationFunction": activation}
        return operator(model, "CONV_2D", 1, inputs, result, "Conv2DOptions", **fields)

    inputs = [per_tap, add_constant(model, graph, f"{name}/places", one_hot), zeros]
    first = pointwise([source, weight, zeros], per_tap, api.ActivationFunctionType.NONE)
    depthwise = operator(
        model, "DEPTHWISE_CONV_2D", DILATED_VERSION, inputs, moved, "DepthwiseConv2DOptions", **depthwise_options
    )
    return [first, depthwise, pointwise([moved, ones, *bias], output, options.fusedActivationFunction)]


def original_weight_shapes(model: Any, graph: Any) -> Iterator[tuple[str, list[int]]]:
    """Yield the name and the original shape [1, h, w, c] of each weight whose convolution was decomposed."""
    producers = {int(operator.outputs[0]): operator for operator in graph.operators}
    for depthwise in graph.operators:
        if flatbuffer.opcode(model, depthwise) != "DEPTHWISE_CONV_2D" or int(depthwise.inputs[0]) not in producers:
            continue
        per_tap = int(depthwise.inputs[0])
        if not flatbuffer.text(graph.tensors[per_tap].name).endswith(TAPS):
            continue
        _, height, width, _ = shape_of(graph, int(depthwise.inputs[1]))
        for index in weight_tensors(model, graph, int(producers[per_tap].inputs[1])):
            yield flatbuffer.text(graph.tensors[index].name), [1, height, width, shape_of(graph, index)[3]]
