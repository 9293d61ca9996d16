"""Lower Conv: plain, grouped and depthwise convolutions over one or two spatial axes, with a known or computed kernel.

ONNX kernels are (out, in / groups, height, width); TF.js kernels are (height, width, in, out).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.targets.tfjs.graph import (
    NHWC,
    Array,
    Attrs,
    Constant,
    Graph,
    Layout,
    NodeOutput,
    Tensor,
    dtype_attr,
    float_attr,
    int_attr,
    ints_attr,
    string_attr,
    strings_attr,
)
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.shape import reshape
from export.targets.tfjs.ops.window import Window, read_window

CONV, DEPTHWISE = "_FusedConv2D", "FusedDepthwiseConv2dNative"
FUSED_OPS = (CONV, DEPTHWISE)
# An array is known at export; a Tensor or NodeOutput is computed at run time.
Kernel = Array | Tensor
LoweredKernel = Array | NodeOutput


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution. `kernel` is in ONNX's layout, `bias` has an element per output channel."""

    kernel: Kernel
    bias: Array
    groups: int
    window: Window


def lower_conv(node: OnnxNode) -> Tensor:
    """Lower Conv. It always gets a bias, so that an activation can be fused into it later."""
    is_1d = len(node.tensor().shape) == 3
    x = as_2d(node)
    kernel = kernel_2d(node, is_1d)
    window = conv_window(node, kernel, is_1d)
    zeros = np.zeros(kernel.shape[0], np.float32)
    source = node.graph.to_layout(x, NHWC)
    bias = node.operand(2) if node.has(2) else None
    groups = int(node.attr("group", 1))
    if isinstance(bias, Tensor):
        return from_2d(node, add_bias(node, add_conv(node.graph, source, Convolution(kernel, zeros, groups, window))))
    known = zeros if bias is None else bias.value
    return from_2d(node, add_conv(node.graph, source, Convolution(kernel, known, groups, window)))


def conv_window(node: OnnxNode, kernel: Kernel, is_1d: bool) -> Window:
    return read_window(node, kernel.shape[3:] if is_1d else kernel.shape[2:], node.tensor().shape[2:], node.shape[2:])


def kernel_2d(node: OnnxNode, is_1d: bool) -> Kernel:
    """Return operand 1, the kernel, with two spatial axes."""
    kernel = node.operand(1)
    if isinstance(kernel, Constant):
        return kernel.value[:, :, None, :] if is_1d else kernel.value
    if not is_1d:
        return kernel
    first, second, length = kernel.shape
    return reshape(node.graph, kernel, (first, second, 1, length))


def add_bias(node: OnnxNode, source: NodeOutput) -> NodeOutput:
    """Add operand 2, the bias, as a node of its own where the node has one."""
    if not node.has(2):
        return source
    value = node.operand(2)
    graph = node.graph
    bias = (
        graph.const(value.value, f"{graph.scope}/bias") if isinstance(value, Constant) else graph.to_layout(value, (0,))
    )
    return graph.add("BiasAdd", [source, bias], T=dtype_attr("float32"), data_format=string_attr("NHWC"))


def add_conv(graph: Graph, x: NodeOutput, conv: Convolution) -> NodeOutput:
    """Add a convolution of the NHWC tensor `x`: plain, depthwise, or grouped."""
    if conv.groups == 1:
        kernel = kernel_to_layout(graph, conv.kernel, (2, 3, 1, 0))
        return add_fused(graph, x, Fused(CONV, kernel, conv.bias, conv.window))
    if conv.kernel.shape[1] == 1:
        return add_depthwise(graph, x, conv)
    return add_grouped(graph, x, conv)


def add_depthwise(graph: Graph, x: NodeOutput, conv: Convolution) -> NodeOutput:
    """Add a convolution of one input channel per group. Its kernel is (height, width, in, out / in)."""
    kernel, window = conv.kernel, conv.window
    if isinstance(kernel, Tensor):
        kernel, window = dilate_computed(graph, kernel, window), window.undilated()
    by_channel = (conv.groups, conv.kernel.shape[0] // conv.groups, *window.kernel)
    split = kernel.reshape(by_channel) if isinstance(kernel, np.ndarray) else reshape(graph, kernel, by_channel)
    return add_fused(graph, x, Fused(DEPTHWISE, kernel_to_layout(graph, split, (2, 3, 0, 1)), conv.bias, window))


def add_grouped(graph: Graph, x: NodeOutput, conv: Convolution) -> NodeOutput:
    """Add one convolution per group and concatenate their outputs: TF.js has no grouped convolutions."""
    outputs = conv.kernel.shape[0]
    parts = split_channels(graph, x, conv.groups)
    step = outputs // conv.groups
    kernels: Sequence[LoweredKernel]
    if isinstance(conv.kernel, np.ndarray):
        kernels = [np.transpose(conv.kernel[at : at + step], (2, 3, 1, 0)) for at in range(0, outputs, step)]
    else:
        kernels = split_channels(graph, graph.to_layout(conv.kernel, (2, 3, 1, 0)), conv.groups)
    results = []
    for index, (part, kernel) in enumerate(zip(parts, kernels, strict=True)):
        bias = conv.bias[index * step : (index + 1) * step]
        results.append(add_fused(graph, part, Fused(CONV, kernel, bias, conv.window)))
    return concat_channels(graph, results)


def kernel_to_layout(graph: Graph, kernel: Kernel, layout: Layout) -> LoweredKernel:
    return np.transpose(kernel, layout) if isinstance(kernel, np.ndarray) else graph.to_layout(kernel, layout)


def kernel_const(graph: Graph, kernel: LoweredKernel) -> NodeOutput:
    """Return the kernel as a node's output; a known one becomes a Const that recipes may compress."""
    return graph.const(kernel, f"{graph.scope}/kernel", kernel=True) if isinstance(kernel, np.ndarray) else kernel


def split_channels(graph: Graph, x: NodeOutput, groups: int) -> list[NodeOutput]:
    axis = graph.const(np.int32(3))
    split, _ = graph.add("Split", [axis, x], T=dtype_attr("float32"), num_split=int_attr(groups))
    return [(split, index) for index in range(groups)]


def concat_channels(graph: Graph, parts: list[NodeOutput]) -> NodeOutput:
    axis = graph.const(np.int32(3))
    attrs = {"T": dtype_attr("float32"), "Tidx": dtype_attr("int32"), "N": int_attr(len(parts))}
    return graph.add("ConcatV2", [*parts, axis], **attrs)


@dataclass(frozen=True, slots=True)
class Fused:
    """A TF.js convolution node with a bias. `kernel` is in the layout of `op`."""

    op: str
    kernel: LoweredKernel
    bias: Array
    window: Window


def add_fused(graph: Graph, x: NodeOutput, conv: Fused) -> NodeOutput:
    """Add one convolution with a bias.

    No TF.js kernel has both strides and dilations, and no depthwise kernel has two different strides. In both cases the
    convolution runs at stride 1, and every stride-th element of its output is kept, which gives the same result.
    """
    window = conv.window
    uneven = conv.op == DEPTHWISE and window.strides[0] != window.strides[1]
    if window.strides != (1, 1) and (window.dilations != (1, 1) or uneven):
        return subsample(graph, add_fused(graph, x, replace(conv, window=window.unstrided())), window)
    inputs = [x, kernel_const(graph, conv.kernel), graph.const(conv.bias, f"{graph.scope}/bias")]
    attrs = {
        "T": dtype_attr("float32"),
        "strides": ints_attr([1, *window.strides, 1]),
        "dilations": ints_attr([1, *window.dilations, 1]),
        "data_format": string_attr("NHWC"),
        "fused_ops": strings_attr(["BiasAdd"]),
        "num_args": int_attr(1),
        "epsilon": float_attr(0.0),
        **padding_attrs(window),
    }
    return graph.add(conv.op, inputs, **attrs)


def padding_attrs(window: Window) -> dict[str, Attrs]:
    if window.is_valid():
        return {"padding": string_attr("VALID"), "explicit_paddings": ints_attr([])}
    if window.is_same():
        return {"padding": string_attr("SAME"), "explicit_paddings": ints_attr([])}
    (top, left), (bottom, right) = window.pad_before, window.pad_after
    pads = [0, 0, top, bottom, left, right, 0, 0]
    return {"padding": string_attr("EXPLICIT"), "explicit_paddings": ints_attr(pads)}


def subsample(graph: Graph, x: NodeOutput, window: Window) -> NodeOutput:
    """Keep every stride-th element of the output of a convolution at stride 1."""
    begin = graph.const(np.zeros(4, np.int32))
    steps = graph.const(np.array([1, *window.strides, 1], np.int32))
    end = graph.const(np.array([0, *window.unstrided().output_size, 0], np.int32))
    masks = {"begin_mask": int_attr(9), "end_mask": int_attr(9)}  # bits 0 and 3: all of batch and channels
    others = {name: int_attr(0) for name in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")}
    types = {"T": dtype_attr("float32"), "Index": dtype_attr("int32")}
    return graph.add("StridedSlice", [x, begin, end, steps], **types, **masks, **others)


def dilate_computed(graph: Graph, kernel: Tensor, window: Window) -> Tensor:
    """Put zeros between the taps of a computed kernel.

    One axis at a time, as a reshape to rank 4 and a Pad, because every backend pads tensors of rank 4.
    """
    first, second, *size = kernel.shape
    if window.dilations == (1, 1):
        return kernel
    for axis in (0, 1):
        gap = window.dilations[axis] - 1
        rows = [first * second * math.prod(size[:axis]), size[axis], 1, math.prod(size[axis + 1 :])]
        source = graph.to_layout(reshape(graph, kernel, tuple(rows)), (0, 1, 2, 3))
        paddings = graph.const(np.array([[0, 0], [0, 0], [0, gap], [0, 0]], np.int32))
        source = graph.add("Pad", [source, paddings], T=dtype_attr("float32"), Tpaddings=dtype_attr("int32"))
        size[axis] *= window.dilations[axis]
        kernel = Tensor(source, (*rows[:2], 1 + gap, rows[3]), "float32", (0, 1, 2, 3))
    source = graph.to_layout(reshape(graph, kernel, (first, second, *size)), (0, 1, 2, 3))
    # The zeros after the last tap are cut off again.
    begin, end = graph.const(np.zeros(4, np.int32)), graph.const(np.array([first, second, *window.extent], np.int32))
    source = graph.add("Slice", [source, begin, end], T=dtype_attr("float32"), Index=dtype_attr("int32"))
    return Tensor(source, (first, second, *window.extent), "float32", (0, 1, 2, 3))


def as_2d(node: OnnxNode) -> Tensor:
    """Return operand 0 with two spatial axes: (N, C, L) becomes (N, C, 1, L)."""
    x = node.tensor()
    if len(x.shape) != 3:
        return x
    return reshape(node.graph, x, (x.shape[0], x.shape[1], 1, x.shape[2]))


def from_2d(node: OnnxNode, source: NodeOutput) -> Tensor:
    """Return the NHWC output `source` in the rank of the ONNX node: the inverse of `as_2d`."""
    if len(node.shape) != 3:
        return node.result(source, NHWC)
    batch, channels, length = node.shape
    return reshape(node.graph, Tensor(source, (batch, channels, 1, length), "float32", NHWC), node.shape)


LOWERINGS: dict[str, Lowering] = {"Conv": lower_conv}
