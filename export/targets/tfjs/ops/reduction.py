"""Lower reductions, ArgMax and ArgMin, CumSum, Softmax and TopK."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.targets.tfjs.graph import Graph, Layout, NodeOutput, Tensor, UnsupportedOp, bool_attr, dtype_attr
from export.targets.tfjs.onnx_node import Lowering, OnnxNode, Result
from export.targets.tfjs.ops.shape import reshape

# ONNX op -> TF.js op.
KERNELS = {
    "ReduceMean": "Mean",
    "ReduceSum": "Sum",
    "ReduceMax": "Max",
    "ReduceMin": "Min",
    "ReduceProd": "Prod",
}


def add_reduction(graph: Graph, op: str, x: Tensor, axes: Sequence[int], keep: bool) -> NodeOutput:
    """Add a reduction over logical axes; `keep` leaves them with size 1."""
    memory_axes = graph.const(np.array(sorted(x.layout.index(axis) for axis in axes), np.int32))
    return graph.add(
        op, [x.source, memory_axes], T=dtype_attr(x.dtype), Tidx=dtype_attr("int32"), keep_dims=bool_attr(keep)
    )


def layout_without(layout: Layout, axes: Sequence[int]) -> Layout:
    """Return the layout of a tensor whose logical `axes` are gone."""
    kept = [axis for axis in layout if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def reduced_axes(node: OnnxNode, rank: int) -> list[int] | None:
    """Return the axes of an ONNX reduction; None for one without axes and with noop_with_empty_axes."""
    axes = node.ints(1, "axes") if node.has(1) else list(node.attr("axes", []))
    if not axes and node.attr("noop_with_empty_axes", 0):
        return None
    return [axis % rank for axis in axes] or list(range(rank))


def lower_reduction(node: OnnxNode) -> Tensor:
    """Lower a reduction with a kernel of its own, or to a Sum with elementwise ops before and after it."""
    x = node.tensor()
    axes = reduced_axes(node, len(x.shape))
    if axes is None:
        return x
    keep = bool(node.attr("keepdims", 1))
    layout = x.layout if keep else layout_without(x.layout, axes)
    if node.op_type in KERNELS:
        return node.result(add_reduction(node.graph, KERNELS[node.op_type], x, axes, keep), layout)
    if node.op_type == "ReduceLogSumExp":
        return log_sum_exp(node, x, axes, keep)
    before = {"ReduceL1": "Abs", "ReduceL2": "Square", "ReduceSumSquare": "Square"}.get(node.op_type)
    after = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log"}.get(node.op_type)
    summands = x.with_source(node.float_op(before, x.source)) if before else x
    total = add_reduction(node.graph, "Sum", summands, axes, keep)
    return node.result(node.float_op(after, total) if after else total, layout)


def log_sum_exp(node: OnnxNode, x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """Return max + log(sum(exp(x - max))): no exponential overflows."""
    top = add_reduction(node.graph, "Max", x, axes, True)
    powers = x.with_source(node.float_op("Exp", node.float_op("Sub", x.source, top)))
    logarithm = node.float_op("Log", add_reduction(node.graph, "Sum", powers, axes, True))
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    result = Tensor(node.float_op("AddV2", logarithm, top), shape, x.dtype, x.layout)
    return result if keep else reshape(node.graph, result, node.shape)


def lower_softmax(node: OnnxNode) -> Tensor:
    """Lower Softmax and LogSoftmax, whose kernels work on the last axis in memory."""
    x = node.tensor()
    axis = node.axis(-1, len(x.shape))
    layout = (*(other for other in x.layout if other != axis), axis)
    return node.result(node.float_op(node.op_type, node.graph.to_layout(x, layout)), layout)


def lower_arg_reduction(node: OnnxNode) -> Tensor:
    x = node.tensor()
    axis = node.axis(0, len(x.shape))
    if node.attr("select_last_index", 0):
        raise UnsupportedOp("selects the last of equal values; the kernel gives the first")
    memory_axis = node.graph.const(np.int32(x.layout.index(axis)))
    types = {"T": dtype_attr(x.dtype), "Tidx": dtype_attr("int32"), "output_type": dtype_attr("int32")}
    source = node.graph.add(node.op_type, [x.source, memory_axis], **types)
    shape = tuple(size for other, size in enumerate(x.shape) if other != axis)
    return reshape(node.graph, Tensor(source, shape, "int32", layout_without(x.layout, [axis])), node.shape)


def lower_cumsum(node: OnnxNode) -> Tensor:
    x = node.tensor()
    axis = node.ints(1, "axis")[0] % len(x.shape)
    memory_axis = node.graph.const(np.int32(x.layout.index(axis)))
    flags = {name: bool_attr(bool(node.attr(name, 0))) for name in ("exclusive", "reverse")}
    types = {"T": dtype_attr(x.dtype), "Tidx": dtype_attr("int32")}
    return node.result(node.graph.add("Cumsum", [x.source, memory_axis], **types, **flags), x.layout)


def lower_top_k(node: OnnxNode) -> Result:
    """Lower TopK to the k largest elements and their indices, in descending order."""
    x = node.tensor()
    axis = node.axis(-1, len(x.shape))
    if not node.attr("largest", 1):
        raise UnsupportedOp("asks for the smallest values; supported: the largest")
    layout = (*(other for other in x.layout if other != axis), axis)
    k = node.graph.const(np.int32(node.ints(1, "k")[0]))
    source = node.graph.to_layout(x, layout)
    types = {"T": dtype_attr(x.dtype), "Tk": dtype_attr("int32"), "index_type": dtype_attr("int32")}
    top_k, _ = node.graph.add("TopKV2", [source, k], sorted=bool_attr(True), **types)
    return node.result((top_k, 0), layout), node.result((top_k, 1), layout, 1)


LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(KERNELS, lower_reduction),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"), lower_reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax"), lower_softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), lower_arg_reduction),
    "CumSum": lower_cumsum,
    "TopK": lower_top_k,
}
