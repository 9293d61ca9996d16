"""Reductions, arg-reductions, cumulative sums, softmax and top-k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.targets.tfjs.call import Call, Handler, Result, axis_of
from export.targets.tfjs.graph import DTYPES, Graph, Order, Ref, Unsupported, Wire, a_bool, a_type
from export.targets.tfjs.ops.shape import reshape

KERNELS = {
    "ReduceMean": "Mean",
    "ReduceSum": "Sum",
    "ReduceMax": "Max",
    "ReduceMin": "Min",
    "ReduceProd": "Prod",
}


def reduced(graph: Graph, op: str, x: Ref, axes: Sequence[int], keep: bool) -> Wire:
    """One reduction kernel over logical axes."""
    places = graph.const(np.array(sorted(x.order.index(axis) for axis in axes), np.int32))
    return graph.add(op, [x.wire, places], T=a_type(x.dtype), Tidx=a_type("int32"), keep_dims=a_bool(keep))


def order_without(order: Order, axes: Sequence[int]) -> Order:
    kept = [axis for axis in order if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def reduced_axes(call: Call, rank: int) -> list[int] | None:
    """The axes of an ONNX reduction; None when it is told to do nothing."""
    axes = call.ints(1, "axes") if call.has(1) else list(call.attr("axes", []))
    if not axes and call.attr("noop_with_empty_axes", 0):
        return None
    return [axis % rank for axis in axes] or list(range(rank))


def reduce_axes(call: Call) -> Ref:
    """The reductions with a kernel of their own, and those made of one and elementwise ops around it."""
    x = call.ref()
    axes = reduced_axes(call, len(x.shape))
    if axes is None:
        return x
    keep = bool(call.attr("keepdims", 1))
    order = x.order if keep else order_without(x.order, axes)
    if call.op in KERNELS:
        return call.made(reduced(call.graph, KERNELS[call.op], x, axes, keep), order)
    if call.op == "ReduceLogSumExp":
        return log_sum_exp(call, x, axes, keep)
    inner = "Abs" if call.op == "ReduceL1" else "Square"
    inner = "" if call.op == "ReduceLogSum" else inner
    source = Ref(call.float_op(inner, x.wire), x.shape, x.dtype, x.order) if inner else x
    wire = reduced(call.graph, "Sum", source, axes, keep)
    outer = {"ReduceL2": "Sqrt", "ReduceLogSum": "Log"}.get(call.op)
    return call.made(call.float_op(outer, wire) if outer else wire, order)


def log_sum_exp(call: Call, x: Ref, axes: Sequence[int], keep: bool) -> Ref:
    """Shifted by the maximum, so that no exponential overflows."""
    top = reduced(call.graph, "Max", x, axes, True)
    powers = Ref(call.float_op("Exp", call.float_op("Sub", x.wire, top)), x.shape, x.dtype, x.order)
    total = call.float_op("AddV2", call.float_op("Log", reduced(call.graph, "Sum", powers, axes, True)), top)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    made = Ref(total, shape, x.dtype, x.order)
    return made if keep else reshape(call.graph, made, call.shapes[0])


def softmax(call: Call) -> Ref:
    """The kernel works on the last axis in memory."""
    x = call.ref()
    axis = axis_of(call, -1, len(x.shape))
    order = (*(other for other in x.order if other != axis), axis)
    wire = call.graph.lay(x, order)
    return call.made(call.float_op(call.op, wire) if call.op == "Softmax" else log_softmax(call, wire), order)


def log_softmax(call: Call, x: Wire) -> Wire:
    return call.graph.add("LogSoftmax", [x], T=a_type("float32"))


def arg_reduce(call: Call) -> Ref:
    x = call.ref()
    axis = axis_of(call, 0, len(x.shape))
    if call.attr("select_last_index", 0):
        raise Unsupported("selects the last of equal values; the kernel gives the first")
    place = call.graph.const(np.int32(x.order.index(axis)))
    types = {"T": a_type(x.dtype), "Tidx": a_type("int32"), "output_type": {"type": DTYPES["int32"]}}
    wire = call.graph.add(call.op, [x.wire, place], **types)
    shape = tuple(size for other, size in enumerate(x.shape) if other != axis)
    return reshape(call.graph, Ref(wire, shape, "int32", order_without(x.order, [axis])), call.shapes[0])


def cumsum(call: Call) -> Ref:
    x = call.ref()
    axis = call.ints(1, "axis")[0] % len(x.shape)
    place = call.graph.const(np.int32(x.order.index(axis)))
    flags = {name: a_bool(bool(call.attr(name, 0))) for name in ("exclusive", "reverse")}
    wire = call.graph.add("Cumsum", [x.wire, place], T=a_type(x.dtype), Tidx=a_type("int32"), **flags)
    return call.made(wire, x.order)


def top_k(call: Call) -> Result:
    """Values and indices of the k largest, in descending order."""
    x = call.ref()
    axis = axis_of(call, -1, len(x.shape))
    if not call.attr("largest", 1):
        raise Unsupported("asks for the smallest values; supported: the largest")
    order = (*(other for other in x.order if other != axis), axis)
    count = call.graph.const(np.int32(call.ints(1, "k")[0]))
    wire = call.graph.lay(x, order)
    types = {"T": a_type(x.dtype), "Tk": a_type("int32"), "index_type": a_type("int32")}
    node, _ = call.graph.add("TopKV2", [wire, count], sorted=a_bool(True), **types)
    return call.made((node, 0), order), call.made((node, 1), order, 1)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(KERNELS, reduce_axes),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"), reduce_axes),
    **dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduce),
    "CumSum": cumsum,
    "TopK": top_k,
}
