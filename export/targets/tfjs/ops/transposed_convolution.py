"""Lower ConvTranspose over one or two spatial axes.

ONNX kernels are (in, out / groups, height, width); TF.js kernels are (height, width, out, in).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.targets.tfjs.graph import NHWC, Array, Graph, NodeOutput, Tensor, dtype_attr, ints_attr, string_attr
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.convolution import (
    Kernel,
    LoweredKernel,
    add_bias,
    as_2d,
    concat_channels,
    conv_window,
    dilate_computed,
    from_2d,
    kernel_2d,
    kernel_const,
    split_channels,
)
from export.targets.tfjs.ops.window import Window


@dataclass(frozen=True, slots=True)
class Transposed:
    """The transposed convolution of one group. `channels` are its output channels, `batch` the size of axis 0."""

    kernel: LoweredKernel
    channels: int
    batch: int
    window: Window


def lower_conv_transpose(node: OnnxNode) -> Tensor:
    """Lower ConvTranspose: one transposed convolution per group, then the bias."""
    graph = node.graph
    is_1d = len(node.tensor().shape) == 3
    x = as_2d(node)
    kernel = kernel_2d(node, is_1d)
    window = conv_window(node, kernel, is_1d)
    groups = int(node.attr("group", 1))
    source = graph.to_layout(x, NHWC)
    parts = split_channels(graph, source, groups) if groups > 1 else [source]
    results = [
        add_transposed(graph, part, Transposed(part_kernel, kernel.shape[1], x.shape[0], window))
        for part, part_kernel in zip(parts, kernels_by_group(graph, kernel, groups, window), strict=True)
    ]
    return from_2d(node, add_bias(node, concat_channels(graph, results) if groups > 1 else results[0]))


def kernels_by_group(graph: Graph, kernel: Kernel, groups: int, window: Window) -> Sequence[LoweredKernel]:
    """Return the undilated kernel of each group as (height, width, out, in)."""
    if isinstance(kernel, np.ndarray):
        return [np.transpose(part, (2, 3, 1, 0)) for part in np.split(dilate(kernel, window), groups)]
    source = graph.to_layout(dilate_computed(graph, kernel, window), (2, 3, 1, 0))
    return split_channels(graph, source, groups) if groups > 1 else [source]


def dilate(kernel: Array, window: Window) -> Array:
    """Put zeros between the taps of a dilated kernel: TF.js has transposed convolutions without dilation only."""
    if window.dilations == (1, 1):
        return kernel
    dilated = np.zeros((*kernel.shape[:2], *window.extent), kernel.dtype)
    dilated[:, :, :: window.dilations[0], :: window.dilations[1]] = kernel
    return dilated


def add_transposed(graph: Graph, x: NodeOutput, conv: Transposed) -> NodeOutput:
    """Add a Conv2DBackpropInput without padding, then pad and slice its output to the size that ONNX states."""
    window, extent = conv.window, conv.window.extent
    full = [(window.input_size[a] - 1) * window.strides[a] + extent[a] for a in (0, 1)]
    inputs = [
        graph.const(np.array([conv.batch, *full, conv.channels], np.int32)),
        kernel_const(graph, conv.kernel),
        x,
    ]
    attrs = {
        "T": dtype_attr("float32"),
        "strides": ints_attr([1, *window.strides, 1]),
        "dilations": ints_attr([1, 1, 1, 1]),
        "data_format": string_attr("NHWC"),
        "padding": string_attr("VALID"),
        "explicit_paddings": ints_attr([]),
    }
    source = graph.add("Conv2DBackpropInput", inputs, **attrs)
    short = [max(0, window.pad_before[a] + window.output_size[a] - full[a]) for a in (0, 1)]
    if any(short):
        paddings = graph.const(np.array([[0, 0], [0, short[0]], [0, short[1]], [0, 0]], np.int32))
        source = graph.add("Pad", [source, paddings], T=dtype_attr("float32"), Tpaddings=dtype_attr("int32"))
    if window.pad_before == (0, 0) and list(window.output_size) == [full[a] + short[a] for a in (0, 1)]:
        return source
    begin = graph.const(np.array([0, *window.pad_before, 0], np.int32))
    size = graph.const(np.array([conv.batch, *window.output_size, conv.channels], np.int32))
    return graph.add("Slice", [source, begin, size], T=dtype_attr("float32"), Index=dtype_attr("int32"))


LOWERINGS: dict[str, Lowering] = {"ConvTranspose": lower_conv_transpose}
