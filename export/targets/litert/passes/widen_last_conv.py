"""Convolutions to one channel, spread over the lanes of a processor: the last one of every dense head.

Symptom: 24 channels to one by 3x3 at half the photo's size take a quarter of a head's time in float32, and more in
int8, where the last convolution stays float.
Cause: a kernel's lanes are output channels (16 with AVX-512), and this convolution has one. XNNPACK has kernels of two
on ARM, where little is won: docs/decisions/artifacts.md has the numbers.
Instead: a pointwise convolution to a channel a tap, a depthwise one that moves each channel to its tap's place, and a
pointwise one that adds them up. The same products in another order of sums; the weight keeps its values and its name.
Retired by: kernels of few output channels in XNNPACK for x86.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from export.passes.base import PassResult
from export.targets.litert import flatbuffer
from export.targets.litert.edit import FLOAT32, add_constant, add_tensor, has_data, operator, shape_of

# The fewest lanes of the kernels it is for (AVX2); with more, more is won.
LANES = 8
# What the new tensors' names end in, after the name of what the convolution makes.
TAPS, MOVED = "/taps", "/moved"
# The version of the depthwise operator that knows dilation.
DILATES = 2


def widen_last_conv(model: Any) -> PassResult[Any]:
    """Replace a float CONV_2D to one channel by three convolutions with one channel per tap, where that is cheaper.

    Before: CONV_2D [1, h, w, c].
    After: CONV_2D [h * w, 1, 1, c], DEPTHWISE_CONV_2D of one-hot kernels, CONV_2D of ones.
    """
    modified = False
    for graph in model.subgraphs:
        operators: list[Any] = []
        for each in graph.operators:
            narrow = is_narrow(model, graph, each)
            operators += three(model, graph, each) if narrow else [each]
            modified |= narrow
        graph.operators = operators
    return PassResult(model, modified)


def is_narrow(model: Any, graph: Any, each: Any) -> bool:
    """Whether it is a float convolution to one channel that is worth spreading, with a weight of its own."""
    if flatbuffer.opcode(model, each) != "CONV_2D":
        return False
    source, weight, made = int(each.inputs[0]), int(each.inputs[1]), int(each.outputs[0])
    shape = shape_of(graph, weight)
    if any(graph.tensors[number].type != FLOAT32 for number in (source, weight, made)) or shape[0] != 1:
        return False
    readers = [other for other in graph.operators if weight in map(int, other.inputs)]
    if len(readers) != 1 or not stored(model, graph, weight) or shape_of(graph, source)[3] != shape[3]:
        return False
    taps, channels = shape[1] * shape[2], shape[3]
    places = np.prod(shape_of(graph, source)[:3]) / np.prod(shape_of(graph, made)[:3])
    padded = -(-taps // LANES) * LANES
    return bool((places * channels + taps) * padded + taps * LANES < taps * channels * LANES)


def stored(model: Any, graph: Any, weight: int) -> list[int]:
    """The tensors that hold a weight: itself, or itself and what it is decoded from, with one scale at most.

    Empty where it is no constant.
    """
    if has_data(model, graph, weight):
        return [weight]
    for each in graph.operators:
        if weight in map(int, each.outputs):
            origin = int(each.inputs[0])
            coding = graph.tensors[origin].quantization
            many = coding is not None and coding.scale is not None and len(coding.scale) > 1
            decodes = flatbuffer.opcode(model, each) == "DEQUANTIZE" and has_data(model, graph, origin)
            return [weight, origin] if decodes and not many else []
    return []


def three(model: Any, graph: Any, each: Any) -> list[Any]:
    """The operators that stand for the convolution `each`."""
    api = flatbuffer.schema()
    source, weight, *bias = (int(number) for number in each.inputs)
    made, options = int(each.outputs[0]), each.builtinOptions
    _, height, width, channels = shape_of(graph, weight)
    taps, name = height * width, flatbuffer.text(graph.tensors[made].name)
    for number in stored(model, graph, weight):
        graph.tensors[number].shape = np.array([taps, 1, 1, channels], np.int32)
    apart = add_tensor(graph, made, name + TAPS, [*shape_of(graph, source)[:3], taps])
    moved = add_tensor(graph, made, name + MOVED, [*shape_of(graph, made)[:3], taps])
    nothing = add_constant(model, graph, f"{name}/zeros", np.zeros(taps, np.float32))
    places = np.eye(taps, dtype=np.float32).reshape(1, height, width, taps)
    ones = add_constant(model, graph, f"{name}/ones", np.ones((1, 1, 1, taps), np.float32))
    same = ("padding", "strideW", "strideH", "dilationWFactor", "dilationHFactor")
    kept = {key: getattr(options, key) for key in same}

    def pointwise(inputs: list[int], output: int, activation: int) -> Any:
        plain = {"padding": api.Padding.VALID, "strideW": 1, "strideH": 1, "fusedActivationFunction": activation}
        return operator(model, "CONV_2D", 1, inputs, output, "Conv2DOptions", **plain)

    inputs = [apart, add_constant(model, graph, f"{name}/places", places), nothing]
    return [
        pointwise([source, weight, nothing], apart, api.ActivationFunctionType.NONE),
        operator(
            model, "DEPTHWISE_CONV_2D", DILATES, inputs, moved, "DepthwiseConv2DOptions", depthMultiplier=1, **kept
        ),
        pointwise([moved, ones, *bias], made, options.fusedActivationFunction),
    ]


def shapes_before(model: Any, graph: Any) -> Iterator[tuple[str, list[int]]]:
    """(name, shape) of the weights of spread convolutions as they were: [1, height, width, channels]."""
    makers = {int(each.outputs[0]): each for each in graph.operators}
    for each in graph.operators:
        if flatbuffer.opcode(model, each) != "DEPTHWISE_CONV_2D" or int(each.inputs[0]) not in makers:
            continue
        source = int(each.inputs[0])
        if not flatbuffer.text(graph.tensors[source].name).endswith(TAPS):
            continue
        _, height, width, _ = shape_of(graph, int(each.inputs[1]))
        for number in stored(model, graph, int(makers[source].inputs[1])):
            yield flatbuffer.text(graph.tensors[number].name), [1, height, width, shape_of(graph, number)[3]]
