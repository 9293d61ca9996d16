"""Convolutions: plain, grouped, depthwise, transposed; one or two spatial axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import (
    NHWC,
    Array,
    Attrs,
    Graph,
    Ref,
    Wire,
    a_float,
    a_int,
    a_ints,
    a_text,
    a_texts,
    a_type,
)
from export.targets.tfjs.ops.shape import reshape
from export.targets.tfjs.ops.window import Window, window

FUSED = ("_FusedConv2D", "FusedDepthwiseConv2dNative")


def conv(call: Call) -> Ref:
    """Conv: always with a bias, so that an activation can be fused into it later."""
    kernel = call.known(1, "its kernel")
    bias = call.known(2, "its bias") if call.has(2) else np.zeros(kernel.shape[0], np.float32)
    x, flat = lifted(call)
    kernel = kernel[:, :, None, :] if flat else kernel
    frame = window(call, kernel.shape[2:] if not flat else kernel.shape[3:], call.ref().shape[2:], call.shapes[0][2:])
    wire = grouped(call.graph, call.graph.lay(x, NHWC), kernel, bias, Spread(frame, int(call.attr("group", 1))))
    return lowered(call, wire, flat)


@dataclass(frozen=True, slots=True)
class Spread:
    """A window over channel groups."""

    frame: Window
    groups: int


def grouped(graph: Graph, x: Wire, kernel: Array, bias: Array, spread: Spread) -> Wire:
    """Depthwise where a group is one channel; other groups, which TF.js does not have, as a convolution each."""
    outputs, inputs = kernel.shape[:2]
    groups, frame = spread.groups, spread.frame
    if groups == 1:
        return conv2d(graph, x, (np.transpose(kernel, (2, 3, 1, 0)), bias), frame, FUSED[0])
    if inputs == 1:
        by_channel = np.transpose(kernel, (2, 3, 0, 1)).reshape(*frame.kernel, groups, outputs // groups)
        return conv2d(graph, x, (by_channel, bias), frame, FUSED[1])
    parts = split_channels(graph, x, groups)
    step = outputs // groups
    made = []
    for index, part in enumerate(parts):
        own = slice(index * step, (index + 1) * step)
        made.append(conv2d(graph, part, (np.transpose(kernel[own], (2, 3, 1, 0)), bias[own]), frame, FUSED[0]))
    return concat_channels(graph, made)


def split_channels(graph: Graph, x: Wire, groups: int) -> list[Wire]:
    axis = graph.const(np.int32(3))
    node, _ = graph.add("Split", [axis, x], T=a_type("float32"), num_split=a_int(groups))
    return [(node, index) for index in range(groups)]


def concat_channels(graph: Graph, parts: list[Wire]) -> Wire:
    axis = graph.const(np.int32(3))
    attrs = {"T": a_type("float32"), "Tidx": a_type("int32"), "N": a_int(len(parts))}
    return graph.add("ConcatV2", [*parts, axis], **attrs)


def conv2d(graph: Graph, x: Wire, weights: tuple[Array, Array], frame: Window, op: str) -> Wire:
    """One fused convolution with bias.

    No kernel has both strides and dilations, and no depthwise kernel unequal strides: those run at stride 1
    and keep every stride-th pixel, which is the same result.
    """
    uneven = op == FUSED[1] and frame.strides[0] != frame.strides[1]
    if frame.strides != (1, 1) and (frame.dilations != (1, 1) or uneven):
        full = conv2d(graph, x, weights, frame.dense(), op)
        return every(graph, full, frame)
    kernel, bias = weights
    inputs = [x, graph.const(kernel, f"{graph.scope}/kernel", kernel=True), graph.const(bias, f"{graph.scope}/bias")]
    attrs = {
        "T": a_type("float32"),
        "strides": a_ints([1, *frame.strides, 1]),
        "dilations": a_ints([1, *frame.dilations, 1]),
        "data_format": a_text("NHWC"),
        "fused_ops": a_texts(["BiasAdd"]),
        "num_args": a_int(1),
        "epsilon": a_float(0.0),
        **padding(frame),
    }
    return graph.add(op, inputs, **attrs)


def padding(frame: Window) -> dict[str, Attrs]:
    if frame.is_valid():
        return {"padding": a_text("VALID"), "explicit_paddings": a_ints([])}
    if frame.is_same():
        return {"padding": a_text("SAME"), "explicit_paddings": a_ints([])}
    pads = [0, 0, frame.before[0], frame.after[0], frame.before[1], frame.after[1], 0, 0]
    return {"padding": a_text("EXPLICIT"), "explicit_paddings": a_ints(pads)}


def every(graph: Graph, x: Wire, frame: Window) -> Wire:
    """Every stride-th pixel of a stride-1 result."""
    begin = graph.const(np.zeros(4, np.int32))
    steps = graph.const(np.array([1, *frame.strides, 1], np.int32))
    end = graph.const(np.array([0, *frame.dense().made, 0], np.int32))
    masks = {"begin_mask": a_int(9), "end_mask": a_int(9)}  # bits 0 and 3: all of batch and channels
    others = {name: a_int(0) for name in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")}
    types = {"T": a_type("float32"), "Index": a_type("int32")}
    return graph.add("StridedSlice", [x, begin, end, steps], **types, **masks, **others)


def conv_transpose(call: Call) -> Ref:
    """ConvTranspose: the whole scattered result, cut (or filled up) to the size asked for."""
    graph = call.graph
    kernel = call.known(1, "its kernel")
    x, flat = lifted(call)
    kernel = kernel[:, :, None, :] if flat else kernel
    frame = window(call, kernel.shape[3:] if flat else kernel.shape[2:], call.ref().shape[2:], call.shapes[0][2:])
    kernel = inflated(kernel, frame)
    groups = int(call.attr("group", 1))
    source = graph.lay(x, NHWC)
    parts = split_channels(graph, source, groups) if groups > 1 else [source]
    step = kernel.shape[0] // groups
    made = [scatter(graph, part, kernel[i * step : (i + 1) * step], (x, frame)) for i, part in enumerate(parts)]
    wire = concat_channels(graph, made) if groups > 1 else made[0]
    if call.has(2):
        bias = graph.const(call.known(2, "its bias"), f"{graph.scope}/bias")
        wire = graph.add("BiasAdd", [wire, bias], T=a_type("float32"), data_format=a_text("NHWC"))
    return lowered(call, wire, flat)


def inflated(kernel: Array, frame: Window) -> Array:
    """A dilated kernel as a larger one with zeros between: TF.js scatters undilated kernels only."""
    if frame.dilations == (1, 1):
        return kernel
    grown = np.zeros((*kernel.shape[:2], *frame.reach), kernel.dtype)
    grown[:, :, :: frame.dilations[0], :: frame.dilations[1]] = kernel
    return grown


def scatter(graph: Graph, x: Wire, kernel: Array, place: tuple[Ref, Window]) -> Wire:
    source, frame = place
    channels, reach = kernel.shape[1], frame.reach
    whole = [(frame.size[a] - 1) * frame.strides[a] + reach[a] for a in (0, 1)]
    batch = source.shape[0]
    inputs = [
        graph.const(np.array([batch, *whole, channels], np.int32)),
        graph.const(np.transpose(kernel, (2, 3, 1, 0)), f"{graph.scope}/kernel", kernel=True),
        x,
    ]
    attrs = {
        "T": a_type("float32"),
        "strides": a_ints([1, *frame.strides, 1]),
        "dilations": a_ints([1, 1, 1, 1]),
        "data_format": a_text("NHWC"),
        "padding": a_text("VALID"),
        "explicit_paddings": a_ints([]),
    }
    wire = graph.add("Conv2DBackpropInput", inputs, **attrs)
    short = [max(0, frame.before[a] + frame.made[a] - whole[a]) for a in (0, 1)]
    if any(short):
        rows = graph.const(np.array([[0, 0], [0, short[0]], [0, short[1]], [0, 0]], np.int32))
        wire = graph.add("Pad", [wire, rows], T=a_type("float32"), Tpaddings=a_type("int32"))
    if frame.before == (0, 0) and list(frame.made) == [whole[a] + short[a] for a in (0, 1)]:
        return wire
    begin = graph.const(np.array([0, *frame.before, 0], np.int32))
    size = graph.const(np.array([batch, *frame.made, channels], np.int32))
    return graph.add("Slice", [wire, begin, size], T=a_type("float32"), Index=a_type("int32"))


def lifted(call: Call) -> tuple[Ref, bool]:
    """The input with two spatial axes, and whether it had one."""
    x = call.ref()
    if len(x.shape) != 3:
        return x, False
    return reshape(call.graph, x, (x.shape[0], x.shape[1], 1, x.shape[2])), True


def lowered(call: Call, wire: Wire, flat: bool) -> Ref:
    if not flat:
        return call.made(wire, NHWC)
    batch, channels, length = call.shapes[0]
    made = Ref(wire, (batch, channels, 1, length), "float32", NHWC)
    return reshape(call.graph, made, (batch, channels, length))


HANDLERS: dict[str, Handler] = {"Conv": conv, "ConvTranspose": conv_transpose}
