"""Lower normalizations to means and differences: TF.js has a kernel for batch norm only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.targets.tfjs.graph import Constant, Tensor, UnsupportedOp, Value, dtype_attr
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.reduction import add_reduction
from export.targets.tfjs.ops.shape import reshape


def normalize(node: OnnxNode, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) over logical axes.

    The variance is the mean of squared differences, as PyTorch computes it.
    """
    mean = add_reduction(node.graph, "Mean", x, axes, True)
    centred = node.float_op("Sub", x.source, mean)
    squares = x.with_source(node.float_op("Square", centred))
    variance = node.float_op("AddV2", add_reduction(node.graph, "Mean", squares, axes, True), node.scalar(epsilon))
    return x.with_source(node.float_op("Mul", centred, node.float_op("Rsqrt", variance)))


def scale_and_shift(node: OnnxNode, x: Tensor, scale: Value | None, shift: Value | None) -> Tensor:
    """Return x * scale + shift; both broadcast to the shape of `x`, and None leaves an operation out."""
    for op, value in (("Mul", scale), ("AddV2", shift)):
        if value is not None:
            (left, right), layout = node.graph.broadcast([x, value], len(x.shape))
            x = Tensor(node.graph.add(op, [left, right], T=dtype_attr("float32")), x.shape, x.dtype, layout)
    return x


def channel_operand(node: OnnxNode, index: int, rank: int) -> Value:
    """Return a vector with an element per channel as a value that broadcasts against (N, C, ...)."""
    value = node.operand(index)
    shape = (1, value.shape[0], *(1,) * (rank - 2))
    if isinstance(value, Constant):
        return Constant(value.value.reshape(shape), value.name)
    return reshape(node.graph, value, shape)


def lower_layer_norm(node: OnnxNode) -> Tensor:
    x = node.tensor()
    rank = len(x.shape)
    normalized = normalize(node, x, range(node.axis(-1, rank), rank), float(node.attr("epsilon", 1e-5)))
    shift = node.operand(2) if node.has(2) else None
    y = scale_and_shift(node, normalized, node.operand(1), shift)
    return node.result(y.source, y.layout)


def lower_instance_norm(node: OnnxNode) -> Tensor:
    x = node.tensor()
    rank = len(x.shape)
    normalized = normalize(node, x, range(2, rank), float(node.attr("epsilon", 1e-5)))
    y = scale_and_shift(node, normalized, channel_operand(node, 1, rank), channel_operand(node, 2, rank))
    return node.result(y.source, y.layout)


def lower_group_norm(node: OnnxNode) -> Tensor:
    """Lower GroupNormalization with one scale per channel, which is its meaning since opset 21.

    Opset 18 has one scale per group. PyTorch's exporter and fuse_group_norm write the newer meaning.
    """
    x, groups = node.tensor(), int(node.attrs["num_groups"])
    batch, channels, *space = x.shape
    rank = len(x.shape)
    if node.has(1) and node.operand(1).shape[0] != channels:
        raise UnsupportedOp("scales per group; supported: per channel")
    grouped = reshape(node.graph, x, (batch, groups, channels // groups, *space))
    normalized = normalize(node, grouped, range(2, rank + 1), float(node.attr("epsilon", 1e-5)))
    y = reshape(node.graph, normalized, x.shape)
    if node.has(1):
        y = scale_and_shift(node, y, channel_operand(node, 1, rank), channel_operand(node, 2, rank))
    return node.result(y.source, y.layout)


def lower_batch_norm(node: OnnxNode) -> Tensor:
    """Lower a BatchNormalization that no convolution could fold to one product and one sum."""
    x = node.tensor()
    scale, shift, mean, variance = (np.asarray(node.constant(i, "a statistic"), np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + float(node.attr("epsilon", 1e-5)))
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    name = node.graph.scope
    product = Constant(factor.astype(np.float32).reshape(shape), f"{name}/scale")
    offset = Constant((shift - mean * factor).astype(np.float32).reshape(shape), f"{name}/shift")
    y = scale_and_shift(node, x, product, offset)
    return node.result(y.source, y.layout)


def lower_lp_norm(node: OnnxNode) -> Tensor:
    """Lower LpNormalization to x / sum(|x|), or to x / sqrt(sum(x**2)) for p = 2."""
    x = node.tensor()
    axis = node.axis(-1, len(x.shape))
    is_l1 = int(node.attr("p", 2)) == 1
    powers = x.with_source(node.float_op("Abs" if is_l1 else "Square", x.source))
    total = add_reduction(node.graph, "Sum", powers, [axis], True)
    norm = total if is_l1 else node.float_op("Sqrt", total)
    return node.result(node.float_op("RealDiv", x.source, norm), x.layout)


LOWERINGS: dict[str, Lowering] = {
    "LayerNormalization": lower_layer_norm,
    "InstanceNormalization": lower_instance_norm,
    "GroupNormalization": lower_group_norm,
    "BatchNormalization": lower_batch_norm,
    "LpNormalization": lower_lp_norm,
}
