"""Normalisations, written out in means and differences: TF.js has a kernel for batch norm alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.targets.tfjs.call import Call, Handler, axis_of
from export.targets.tfjs.graph import Fixed, Ref, Unsupported, Value, Wire, a_type
from export.targets.tfjs.ops.reduction import reduced
from export.targets.tfjs.ops.shape import reshape


def normalized(call: Call, x: Ref, axes: Sequence[int], epsilon: float) -> Wire:
    """(x - mean) / sqrt(variance + epsilon) over logical axes; the variance from the differences, as PyTorch does."""
    mean = reduced(call.graph, "Mean", x, axes, True)
    centred = call.float_op("Sub", x.wire, mean)
    squares = Ref(call.float_op("Square", centred), x.shape, x.dtype, x.order)
    variance = call.float_op("AddV2", reduced(call.graph, "Mean", squares, axes, True), call.number(epsilon))
    return call.float_op("Mul", centred, call.float_op("Rsqrt", variance))


def scaled(call: Call, wire: Wire, like: Ref, scale: Value | None, shift: Value | None) -> Wire:
    """wire * scale + shift, broadcast to `like`, which says how `wire` lies in memory."""
    for op, value in (("Mul", scale), ("AddV2", shift)):
        if value is not None:
            both = [Ref(wire, like.shape, like.dtype, like.order), value]
            (left, right), _ = call.graph.together(both, len(like.shape))
            wire = call.graph.add(op, [left, right], T=a_type("float32"))
    return wire


def per_channel(call: Call, index: int, rank: int) -> Value:
    """A vector over channels as a value that broadcasts against (N, C, ...)."""
    value = call.value(index)
    shape = (1, value.shape[0], *(1,) * (rank - 2))
    if isinstance(value, Fixed):
        return Fixed(value.value.reshape(shape), value.name)
    return reshape(call.graph, value, shape)


def layer_norm(call: Call) -> Ref:
    x = call.ref()
    rank = len(x.shape)
    axes = range(axis_of(call, -1, rank), rank)
    wire = normalized(call, x, axes, float(call.attr("epsilon", 1e-5)))
    shift = call.value(2) if call.has(2) else None
    return call.made(scaled(call, wire, x, call.value(1), shift), x.order)


def instance_norm(call: Call) -> Ref:
    x = call.ref()
    rank = len(x.shape)
    wire = normalized(call, x, range(2, rank), float(call.attr("epsilon", 1e-5)))
    return call.made(scaled(call, wire, x, per_channel(call, 1, rank), per_channel(call, 2, rank)), x.order)


def group_norm(call: Call) -> Ref:
    """Opset 21 scales per channel, opset 18 per group; PyTorch's exporter writes the former's meaning."""
    x, groups = call.ref(), int(call.attrs["num_groups"])
    batch, channels, *space = x.shape
    rank = len(x.shape)
    if call.has(1) and call.value(1).shape[0] != channels:
        raise Unsupported("scales per group; supported: per channel")
    parts = reshape(call.graph, x, (batch, groups, channels // groups, *space))
    wire = normalized(call, parts, range(2, rank + 1), float(call.attr("epsilon", 1e-5)))
    whole = reshape(call.graph, Ref(wire, parts.shape, parts.dtype, parts.order), x.shape)
    if not call.has(1):
        return call.made(whole.wire, whole.order)
    scale, shift = per_channel(call, 1, rank), per_channel(call, 2, rank)
    return call.made(scaled(call, whole.wire, whole, scale, shift), whole.order)


def batch_norm(call: Call) -> Ref:
    """A batch norm that no convolution could take in: one product and one sum."""
    x = call.ref()
    scale, shift, mean, variance = (np.asarray(call.known(i, "a statistic"), np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + float(call.attr("epsilon", 1e-5)))
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    name = call.graph.scope
    product = Fixed(factor.astype(np.float32).reshape(shape), f"{name}/scale")
    offset = Fixed((shift - mean * factor).astype(np.float32).reshape(shape), f"{name}/shift")
    return call.made(scaled(call, x.wire, x, product, offset), x.order)


def lp_norm(call: Call) -> Ref:
    x = call.ref()
    axis = axis_of(call, -1, len(x.shape))
    first = int(call.attr("p", 2)) == 1
    powers = Ref(call.float_op("Abs" if first else "Square", x.wire), x.shape, x.dtype, x.order)
    total = reduced(call.graph, "Sum", powers, [axis], True)
    return call.made(call.float_op("RealDiv", x.wire, total if first else call.float_op("Sqrt", total)), x.order)


HANDLERS: dict[str, Handler] = {
    "LayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "BatchNormalization": batch_norm,
    "LpNormalization": lp_norm,
}
