"""Pools. Padding that TensorFlow's SAME does not mean is added before the pool, and averages are corrected for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import NHWC, Array, Graph, Ref, Unsupported, Wire, a_ints, a_text, a_type
from export.targets.tfjs.ops.convolution import lifted, lowered
from export.targets.tfjs.ops.reduction import reduced
from export.targets.tfjs.ops.shape import cut, reshape
from export.targets.tfjs.ops.window import Window, window

LOWEST = float(np.finfo(np.float32).min)


def frame_of(call: Call) -> Window:
    return window(call, tuple(call.attrs["kernel_shape"]), call.ref().shape[2:], call.shapes[0][2:])


def pooled(graph: Graph, op: str, x: Wire, frame: Window, same: bool) -> Wire:
    attrs = {
        "T": a_type("float32"),
        "ksize": a_ints([1, *frame.kernel, 1]),
        "strides": a_ints([1, *frame.strides, 1]),
        "padding": a_text("SAME" if same else "VALID"),
        "data_format": a_text("NHWC"),
    }
    return graph.add(op, [x], **attrs)


def padded(graph: Graph, x: Wire, frame: Window, fill: float) -> Wire:
    after = frame.needed()
    if frame.before == (0, 0) and after == (0, 0):
        return x
    rows = np.array([[0, 0], [frame.before[0], after[0]], [frame.before[1], after[1]], [0, 0]], np.int32)
    types = {"T": a_type("float32"), "Tpaddings": a_type("int32")}
    return graph.add("PadV2", [x, graph.const(rows), graph.const(np.float32(fill))], **types)


def max_pool(call: Call) -> Ref:
    if len(call.shapes) > 1:
        raise Unsupported("returns indices; supported: values alone")
    frame = frame_of(call)
    x, flat = lifted(call)
    wire = call.graph.lay(x, NHWC)
    if frame.dilations != (1, 1):
        return lowered(call, dilated_max(call, wire, x, frame), flat)
    if frame.is_same():
        return lowered(call, pooled(call.graph, "MaxPool", wire, frame, same=True), flat)
    wire = padded(call.graph, wire, frame, LOWEST)
    return lowered(call, pooled(call.graph, "MaxPool", wire, frame, same=False), flat)


def dilated_max(call: Call, wire: Wire, x: Ref, frame: Window) -> Wire:
    """The maximum over the kernel's shifted copies of the input: no kernel pools with dilation."""
    after = frame.needed()
    sides = [frame.size[a] + frame.before[a] + after[a] for a in (0, 1)]
    source = Ref(padded(call.graph, wire, frame, LOWEST), (*x.shape[:2], *sides), "float32", NHWC)
    best: Wire | None = None
    for row, column in np.ndindex(*frame.kernel):
        picks = {}
        for axis, offset in ((0, row), (1, column)):
            start = offset * frame.dilations[axis]
            stop = start + (frame.made[axis] - 1) * frame.strides[axis] + 1
            picks[axis + 2] = range(start, stop, frame.strides[axis])
        part = cut(call.graph, source, picks).wire
        best = part if best is None else call.float_op("Maximum", best, part)
    assert best is not None
    return best


def along_first(call: Call) -> Ref:
    """Three spatial axes of which the first alone is pooled, as LocalResponseNorm does with channels."""
    x, made = call.ref(), call.shapes[0]
    kernel, strides, pads = (
        list(call.attr(name, default))
        for name, default in (("kernel_shape", []), ("strides", [1, 1, 1]), ("pads", [0] * 6))
    )
    if kernel[1:] != [1, 1] or strides[1:] != [1, 1] or any(pads[1:3] + pads[4:]):
        raise Unsupported("pools 3 spatial axes; 1 and 2 are supported")
    attrs = {**call.attrs, "kernel_shape": [kernel[0], 1], "strides": [strides[0], 1], "pads": [pads[0], 0, pads[3], 0]}
    flat = reshape(call.graph, x, (*x.shape[:3], x.shape[3] * x.shape[4]))
    inner = replace(call, inputs=(flat,), attrs=attrs, shapes=((*made[:3], made[3] * made[4]),))
    return reshape(call.graph, average_pool(inner), made)


def average_pool(call: Call) -> Ref:
    if len(call.ref().shape) == 5:
        return along_first(call)
    frame = frame_of(call)
    if frame.dilations != (1, 1):
        raise Unsupported("is dilated; supported: max pools with dilation")
    include = bool(call.attr("count_include_pad", 0))
    x, flat = lifted(call)
    wire = call.graph.lay(x, NHWC)
    if not include and frame.is_same() and not frame.is_valid():
        return lowered(call, pooled(call.graph, "AvgPool", wire, frame, same=True), flat)
    made = pooled(call.graph, "AvgPool", padded(call.graph, wire, frame, 0.0), frame, same=False)
    area = frame.kernel[0] * frame.kernel[1]
    share = area / (counted(frame, 0, include)[:, None] * counted(frame, 1, include)[None, :])
    if not np.all(share == 1.0):
        made = call.float_op("Mul", made, call.graph.const(share.astype(np.float32)[None, :, :, None]))
    return lowered(call, made, flat)


def counted(frame: Window, axis: int, include: bool) -> Array:
    """How many places of each window count: those of the input, with `include` those of its declared padding too."""
    starts = np.arange(frame.made[axis]) * frame.strides[axis] - frame.before[axis]
    low = -frame.before[axis] if include else 0
    high = frame.size[axis] + (frame.after[axis] if include else 0)
    count: Array = np.minimum(starts + frame.kernel[axis], high) - np.maximum(starts, low)
    return count


def global_pool(call: Call) -> Ref:
    x = call.ref()
    op = {"GlobalAveragePool": "Mean", "GlobalMaxPool": "Max"}[call.op]
    return call.made(reduced(call.graph, op, x, range(2, len(x.shape)), True), x.order)


HANDLERS: dict[str, Handler] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
}
