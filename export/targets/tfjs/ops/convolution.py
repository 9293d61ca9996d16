"""Convolutions: plain, grouped, depthwise, transposed; one or two spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import (
    NHWC,
    Array,
    Attrs,
    Fixed,
    Graph,
    Order,
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
    x, flat = lifted(call)
    kernel = kernel_of(call, flat)
    frame = window(call, kernel.shape[3:] if flat else kernel.shape[2:], call.ref().shape[2:], call.shapes[0][2:])
    zeros = np.zeros(kernel.shape[0], np.float32)
    spread = Spread(frame, int(call.attr("group", 1)))
    source = call.graph.lay(x, NHWC)
    bias = call.value(2) if call.has(2) else None
    if isinstance(bias, Ref):
        return lowered(call, biased(call, grouped(call.graph, source, kernel, zeros, spread)), flat)
    known = zeros if bias is None else bias.value
    return lowered(call, grouped(call.graph, source, kernel, known, spread), flat)


def kernel_of(call: Call, flat: bool) -> Array | Ref:
    """The kernel with two spatial axes, known or computed at run time."""
    kernel = call.value(1)
    if isinstance(kernel, Fixed):
        return kernel.value[:, :, None, :] if flat else kernel.value
    if not flat:
        return kernel
    first, second, length = kernel.shape
    return reshape(call.graph, kernel, (first, second, 1, length))


def biased(call: Call, wire: Wire) -> Wire:
    if not call.has(2):
        return wire
    found = call.value(2)
    graph = call.graph
    bias = graph.const(found.value, f"{graph.scope}/bias") if isinstance(found, Fixed) else graph.lay(found, (0,))
    return graph.add("BiasAdd", [wire, bias], T=a_type("float32"), data_format=a_text("NHWC"))


@dataclass(frozen=True, slots=True)
class Spread:
    """A window over channel groups."""

    frame: Window
    groups: int


def grouped(graph: Graph, x: Wire, kernel: Array | Ref, bias: Array, spread: Spread) -> Wire:
    """Depthwise where a group is one channel; other groups, which TF.js does not have, as a convolution each."""
    outputs, inputs = kernel.shape[:2]
    groups, frame = spread.groups, spread.frame
    if groups == 1:
        return conv2d(graph, x, (laid(graph, kernel, (2, 3, 1, 0)), bias), frame, FUSED[0])
    if inputs == 1:
        if isinstance(kernel, Ref):
            kernel, frame = spread_out(graph, kernel, frame), frame.whole()
        by_channel = (groups, outputs // groups, *frame.kernel)
        split = kernel.reshape(by_channel) if isinstance(kernel, np.ndarray) else reshape(graph, kernel, by_channel)
        return conv2d(graph, x, (laid(graph, split, (2, 3, 0, 1)), bias), frame, FUSED[1])
    parts = split_channels(graph, x, groups)
    step = outputs // groups
    kernels: Sequence[Array | Wire]
    if isinstance(kernel, np.ndarray):
        kernels = [np.transpose(kernel[at : at + step], (2, 3, 1, 0)) for at in range(0, outputs, step)]
    else:
        kernels = split_channels(graph, graph.lay(kernel, (2, 3, 1, 0)), groups)
    made = []
    for index, (part, own) in enumerate(zip(parts, kernels, strict=True)):
        made.append(conv2d(graph, part, (own, bias[index * step : (index + 1) * step]), frame, FUSED[0]))
    return concat_channels(graph, made)


def laid(graph: Graph, kernel: Array | Ref, order: Order) -> Array | Wire:
    return np.transpose(kernel, order) if isinstance(kernel, np.ndarray) else graph.lay(kernel, order)


def weight(graph: Graph, kernel: Array | Wire) -> Wire:
    return graph.const(kernel, f"{graph.scope}/kernel", kernel=True) if isinstance(kernel, np.ndarray) else kernel


def split_channels(graph: Graph, x: Wire, groups: int) -> list[Wire]:
    axis = graph.const(np.int32(3))
    node, _ = graph.add("Split", [axis, x], T=a_type("float32"), num_split=a_int(groups))
    return [(node, index) for index in range(groups)]


def concat_channels(graph: Graph, parts: list[Wire]) -> Wire:
    axis = graph.const(np.int32(3))
    attrs = {"T": a_type("float32"), "Tidx": a_type("int32"), "N": a_int(len(parts))}
    return graph.add("ConcatV2", [*parts, axis], **attrs)


def conv2d(graph: Graph, x: Wire, weights: tuple[Array | Wire, Array], frame: Window, op: str) -> Wire:
    """One fused convolution with bias.

    No kernel has both strides and dilations, and no depthwise kernel unequal strides: those run at stride 1
    and keep every stride-th pixel, which is the same result.
    """
    uneven = op == FUSED[1] and frame.strides[0] != frame.strides[1]
    if frame.strides != (1, 1) and (frame.dilations != (1, 1) or uneven):
        full = conv2d(graph, x, weights, frame.dense(), op)
        return every(graph, full, frame)
    kernel, bias = weights
    inputs = [x, weight(graph, kernel), graph.const(bias, f"{graph.scope}/bias")]
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
    x, flat = lifted(call)
    kernel = kernel_of(call, flat)
    frame = window(call, kernel.shape[3:] if flat else kernel.shape[2:], call.ref().shape[2:], call.shapes[0][2:])
    groups = int(call.attr("group", 1))
    source = graph.lay(x, NHWC)
    parts = split_channels(graph, source, groups) if groups > 1 else [source]
    made = [
        scatter(graph, part, own, (kernel.shape[1], x, frame))
        for part, own in zip(parts, by_group(graph, kernel, groups, frame), strict=True)
    ]
    wire = concat_channels(graph, made) if groups > 1 else made[0]
    return lowered(call, biased(call, wire), flat)


def by_group(graph: Graph, kernel: Array | Ref, groups: int, frame: Window) -> Sequence[Array | Wire]:
    """[height, width, made, read] for each group."""
    if isinstance(kernel, np.ndarray):
        return [np.transpose(part, (2, 3, 1, 0)) for part in np.split(inflated(kernel, frame), groups)]
    wire = graph.lay(spread_out(graph, kernel, frame), (2, 3, 1, 0))
    return split_channels(graph, wire, groups) if groups > 1 else [wire]


def inflated(kernel: Array, frame: Window) -> Array:
    """A dilated kernel as a larger one with zeros between: TF.js scatters undilated kernels only."""
    if frame.dilations == (1, 1):
        return kernel
    grown = np.zeros((*kernel.shape[:2], *frame.reach), kernel.dtype)
    grown[:, :, :: frame.dilations[0], :: frame.dilations[1]] = kernel
    return grown


def spread_out(graph: Graph, kernel: Ref, frame: Window) -> Ref:
    """The same of a kernel that is computed at run time, by tensors of four axes, which every backend pads."""
    first, second, *sides = kernel.shape
    if frame.dilations == (1, 1):
        return kernel
    wide = list(sides)
    for axis in (0, 1):
        apart = frame.dilations[axis] - 1
        rows = [first * second * math.prod(wide[:axis]), wide[axis], 1, math.prod(wide[axis + 1 :])]
        wire = graph.lay(reshape(graph, kernel, tuple(rows)), (0, 1, 2, 3))
        zeros = graph.const(np.array([[0, 0], [0, 0], [0, apart], [0, 0]], np.int32))
        wire = graph.add("Pad", [wire, zeros], T=a_type("float32"), Tpaddings=a_type("int32"))
        wide[axis] *= frame.dilations[axis]
        kernel = Ref(wire, (*rows[:2], 1 + apart, rows[3]), "float32", (0, 1, 2, 3))
    wire = graph.lay(reshape(graph, kernel, (first, second, *wide)), (0, 1, 2, 3))
    begin, size = graph.const(np.zeros(4, np.int32)), graph.const(np.array([first, second, *frame.reach], np.int32))
    wire = graph.add("Slice", [wire, begin, size], T=a_type("float32"), Index=a_type("int32"))
    return Ref(wire, (first, second, *frame.reach), "float32", (0, 1, 2, 3))


def scatter(graph: Graph, x: Wire, kernel: Array | Wire, place: tuple[int, Ref, Window]) -> Wire:
    channels, source, frame = place
    reach = frame.reach
    whole = [(frame.size[a] - 1) * frame.strides[a] + reach[a] for a in (0, 1)]
    batch = source.shape[0]
    inputs = [graph.const(np.array([batch, *whole, channels], np.int32)), weight(graph, kernel), x]
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
