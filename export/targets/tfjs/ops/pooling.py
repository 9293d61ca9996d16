"""Lower pools. Padding other than TensorFlow's SAME is added before the pool, and averages are corrected for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.targets.tfjs.graph import (
    NHWC,
    Array,
    Graph,
    NodeOutput,
    Tensor,
    UnsupportedOp,
    dtype_attr,
    ints_attr,
    string_attr,
)
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.convolution import as_2d, from_2d
from export.targets.tfjs.ops.reduction import add_reduction
from export.targets.tfjs.ops.shape import reshape
from export.targets.tfjs.ops.slicing import slice_axes
from export.targets.tfjs.ops.window import Window, read_window

LOWEST = float(np.finfo(np.float32).min)


def pool_window(node: OnnxNode) -> Window:
    return read_window(node, tuple(node.attrs["kernel_shape"]), node.tensor().shape[2:], node.shape[2:])


def add_pool(graph: Graph, op: str, x: NodeOutput, window: Window, padding: str) -> NodeOutput:
    """Add a MaxPool or AvgPool. `padding` is "SAME" or "VALID"."""
    attrs = {
        "T": dtype_attr("float32"),
        "ksize": ints_attr([1, *window.kernel, 1]),
        "strides": ints_attr([1, *window.strides, 1]),
        "padding": string_attr(padding),
        "data_format": string_attr("NHWC"),
    }
    return graph.add(op, [x], **attrs)


def add_padding(graph: Graph, x: NodeOutput, window: Window, fill: float) -> NodeOutput:
    """Pad an NHWC tensor with the padding that the window reads."""
    (top, left), (bottom, right) = window.pad_before, window.used_pad_after()
    if not any((top, left, bottom, right)):
        return x
    paddings = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    types = {"T": dtype_attr("float32"), "Tpaddings": dtype_attr("int32")}
    return graph.add("PadV2", [x, graph.const(paddings), graph.const(np.float32(fill))], **types)


def lower_max_pool(node: OnnxNode) -> Tensor:
    if len(node.output_shapes) > 1:
        raise UnsupportedOp("returns indices; supported: values alone")
    window = pool_window(node)
    x = as_2d(node)
    source = node.graph.to_layout(x, NHWC)
    if window.dilations != (1, 1):
        return from_2d(node, add_dilated_max(node, source, x, window))
    if window.is_same():
        return from_2d(node, add_pool(node.graph, "MaxPool", source, window, "SAME"))
    source = add_padding(node.graph, source, window, LOWEST)
    return from_2d(node, add_pool(node.graph, "MaxPool", source, window, "VALID"))


def add_dilated_max(node: OnnxNode, source: NodeOutput, x: Tensor, window: Window) -> NodeOutput:
    """Add the maximum over one shifted copy of the input per tap: no TF.js kernel pools with dilation."""
    after = window.used_pad_after()
    size = [window.input_size[a] + window.pad_before[a] + after[a] for a in (0, 1)]
    padded = Tensor(add_padding(node.graph, source, window, LOWEST), (*x.shape[:2], *size), "float32", NHWC)
    largest: NodeOutput | None = None
    for row, column in np.ndindex(*window.kernel):
        ranges = {}
        for axis, tap in ((0, row), (1, column)):
            start = tap * window.dilations[axis]
            stop = start + (window.output_size[axis] - 1) * window.strides[axis] + 1
            ranges[axis + 2] = range(start, stop, window.strides[axis])
        copy = slice_axes(node.graph, padded, ranges).source
        largest = copy if largest is None else node.float_op("Maximum", largest, copy)
    assert largest is not None
    return largest


def average_first_axis(node: OnnxNode) -> Tensor:
    """Lower an AveragePool over three spatial axes that pools the first one only: LocalResponseNorm over channels."""
    x, shape = node.tensor(), node.shape
    kernel, strides, pads = (
        list(node.attr(name, default))
        for name, default in (("kernel_shape", []), ("strides", [1, 1, 1]), ("pads", [0] * 6))
    )
    if kernel[1:] != [1, 1] or strides[1:] != [1, 1] or any(pads[1:3] + pads[4:]):
        raise UnsupportedOp("pools 3 spatial axes; 1 and 2 are supported")
    attrs = {**node.attrs, "kernel_shape": [kernel[0], 1], "strides": [strides[0], 1], "pads": [pads[0], 0, pads[3], 0]}
    merged = reshape(node.graph, x, (*x.shape[:3], x.shape[3] * x.shape[4]))
    pool = replace(node, operands=(merged,), attrs=attrs, output_shapes=((*shape[:3], shape[3] * shape[4]),))
    return reshape(node.graph, lower_average_pool(pool), shape)


def lower_average_pool(node: OnnxNode) -> Tensor:
    if len(node.tensor().shape) == 5:
        return average_first_axis(node)
    window = pool_window(node)
    if window.dilations != (1, 1):
        raise UnsupportedOp("is dilated; supported: max pools with dilation")
    include_pad = bool(node.attr("count_include_pad", 0))
    x = as_2d(node)
    source = node.graph.to_layout(x, NHWC)
    if not include_pad and window.is_same() and not window.is_valid():
        return from_2d(node, add_pool(node.graph, "AvgPool", source, window, "SAME"))
    average = add_pool(node.graph, "AvgPool", add_padding(node.graph, source, window, 0.0), window, "VALID")
    # The kernel divides by the area of the window; ONNX divides by the number of elements that count.
    area = window.kernel[0] * window.kernel[1]
    counts = counted_elements(window, 0, include_pad)[:, None] * counted_elements(window, 1, include_pad)[None, :]
    correction = area / counts
    if not np.all(correction == 1.0):
        average = node.float_op("Mul", average, node.graph.const(correction.astype(np.float32)[None, :, :, None]))
    return from_2d(node, average)


def counted_elements(window: Window, axis: int, include_pad: bool) -> Array:
    """Return how many elements along `axis` each window counts: input, and declared padding with `include_pad`."""
    starts = np.arange(window.output_size[axis]) * window.strides[axis] - window.pad_before[axis]
    low = -window.pad_before[axis] if include_pad else 0
    high = window.input_size[axis] + (window.pad_after[axis] if include_pad else 0)
    count: Array = np.minimum(starts + window.kernel[axis], high) - np.maximum(starts, low)
    return count


def lower_global_pool(node: OnnxNode) -> Tensor:
    x = node.tensor()
    op = {"GlobalAveragePool": "Mean", "GlobalMaxPool": "Max"}[node.op_type]
    return node.result(add_reduction(node.graph, op, x, range(2, len(x.shape)), True), x.layout)


LOWERINGS: dict[str, Lowering] = {
    "MaxPool": lower_max_pool,
    "AveragePool": lower_average_pool,
    "GlobalAveragePool": lower_global_pool,
    "GlobalMaxPool": lower_global_pool,
}
