"""Lower activations. ReLU and ReLU6 are fused into the convolution before them."""

from __future__ import annotations

import math

import numpy as np

from export.targets.tfjs.graph import Constant, NodeOutput, Tensor, dtype_attr, float_attr, strings_attr
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.convolution import FUSED_OPS

# Exporters write "no bound" beside the other bound of a Clip as the largest float32 (3.4e38). Alone or on both sides it
# is a bound of the net itself: it makes infinite elements finite.
NO_BOUND = 3e38


def fuse_or_add(node: OnnxNode, op: str) -> Tensor:
    """Fuse a ReLU or ReLU6 into the convolution before it, where it is its only user; else add the activation `op`."""
    x = node.tensor()
    producer, _ = x.source
    fusable = op in ("Relu", "Relu6") and node.sole_user and producer.op in FUSED_OPS
    if fusable and producer.attrs["fused_ops"] == strings_attr(["BiasAdd"]):
        producer.attrs["fused_ops"] = strings_attr(["BiasAdd", op])
        return x
    return node.result(node.float_op(op, x.source), x.layout)


def lower_relu(node: OnnxNode) -> Tensor:
    return fuse_or_add(node, "Relu")


def clip_bound(node: OnnxNode, index: int, default: float) -> float:
    return float(np.asarray(node.constant(index, "a bound")).reshape(())) if node.has(index) else default


def lower_clip(node: OnnxNode) -> Tensor:
    low, high = clip_bound(node, 1, -math.inf), clip_bound(node, 2, math.inf)
    x = node.tensor()
    if low >= -NO_BOUND or high <= NO_BOUND:
        low, high = (-math.inf if low < -NO_BOUND else low), (math.inf if high > NO_BOUND else high)
    if x.dtype == "float32" and low == 0 and high in (6, math.inf):
        return fuse_or_add(node, "Relu6" if high == 6 else "Relu")
    source = x.source
    if x.dtype == "float32" and math.isfinite(low) and math.isfinite(high):
        return node.result(node.float_op("ClipByValue", source, node.scalar(low), node.scalar(high)), x.layout)
    as_dtype = np.float32 if x.dtype == "float32" else np.int32
    if math.isfinite(low):
        source = node.graph.add("Maximum", [source, node.graph.const(as_dtype(low))], T=dtype_attr(x.dtype))
    if math.isfinite(high):
        source = node.graph.add("Minimum", [source, node.graph.const(as_dtype(high))], T=dtype_attr(x.dtype))
    return node.result(source, x.layout)


def lower_leaky_relu(node: OnnxNode) -> Tensor:
    return leaky_relu(node, node.tensor(), float(node.attr("alpha", 0.01)))


def leaky_relu(node: OnnxNode, x: Tensor, slope: float) -> Tensor:
    attrs = {"T": dtype_attr("float32"), "alpha": float_attr(slope)}
    return node.result(node.graph.add("LeakyRelu", [x.source], **attrs), x.layout)


def lower_prelu(node: OnnxNode) -> Tensor:
    """Lower PRelu to max(x, 0) + slope * min(x, 0), or to LeakyRelu for a single slope.

    TF.js's own Prelu node is no TensorFlow op, so TensorFlow could not check a graph that has it.
    """
    x, slope = node.tensor(), node.operand(1)
    if isinstance(slope, Constant) and np.unique(slope.value).size == 1:
        return leaky_relu(node, x, float(slope.value.reshape(-1)[0]))
    (source, factor), layout = node.graph.broadcast([x, slope], len(x.shape))
    negative = node.float_op("Mul", node.float_op("Minimum", source, node.scalar(0.0)), factor)
    return node.result(node.float_op("AddV2", node.float_op("Relu", source), negative), layout)


def lower_elu(node: OnnxNode) -> Tensor:
    x, alpha = node.tensor(), float(node.attr("alpha", 1.0))
    if alpha == 1.0:
        return node.result(node.float_op("Elu", x.source), x.layout)
    return scaled_elu(node, x, alpha, 1.0)


def lower_celu(node: OnnxNode) -> Tensor:
    alpha = float(node.attr("alpha", 1.0))
    return scaled_elu(node, node.tensor(), alpha, 1.0 / alpha)


def lower_selu(node: OnnxNode) -> Tensor:
    alpha, gamma = float(node.attr("alpha", 1.6732632)), float(node.attr("gamma", 1.0507009))
    unscaled = scaled_elu(node, node.tensor(), alpha, 1.0)
    return node.result(node.float_op("Mul", unscaled.source, node.scalar(gamma)), unscaled.layout)


def scaled_elu(node: OnnxNode, x: Tensor, alpha: float, inner: float) -> Tensor:
    """Return max(x, 0) + alpha * elu(min(inner * x, 0)).

    Below zero, elu(x) is exp(x) - 1 without the cancellation of that difference.
    """
    low = node.float_op("Minimum", x.source, node.scalar(0.0))
    low = low if inner == 1.0 else node.float_op("Mul", low, node.scalar(inner))
    negative = node.float_op("Mul", node.float_op("Elu", low), node.scalar(alpha))
    return node.result(node.float_op("AddV2", node.float_op("Relu", x.source), negative), x.layout)


def hard_sigmoid(node: OnnxNode, x: Tensor, slope: float, offset: float) -> NodeOutput:
    """Return clip(slope * x + offset, 0, 1); for slope 1/6 and offset 0.5 by ReLU6, which every backend has."""
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5:
        shifted = node.float_op("AddV2", x.source, node.scalar(3.0))
        return node.float_op("Mul", node.float_op("Relu6", shifted), node.scalar(1 / 6))
    line = node.float_op("AddV2", node.float_op("Mul", x.source, node.scalar(slope)), node.scalar(offset))
    return node.float_op("ClipByValue", line, node.scalar(0.0), node.scalar(1.0))


def lower_hard_sigmoid(node: OnnxNode) -> Tensor:
    x = node.tensor()
    return node.result(hard_sigmoid(node, x, float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5))), x.layout)


def lower_hard_swish(node: OnnxNode) -> Tensor:
    x = node.tensor()
    return node.result(node.float_op("Mul", x.source, hard_sigmoid(node, x, 1 / 6, 0.5)), x.layout)


def lower_gelu(node: OnnxNode) -> Tensor:
    """Lower Gelu to x / 2 * (1 + gate), where gate is erf(x / sqrt(2)) or its tanh approximation."""
    x = node.tensor()
    if node.attr_str("approximate", "none") == "tanh":
        cube = node.float_op("Mul", node.float_op("Square", x.source), x.source)
        inner = node.float_op("AddV2", x.source, node.float_op("Mul", cube, node.scalar(0.044715)))
        gate = node.float_op("Tanh", node.float_op("Mul", inner, node.scalar(math.sqrt(2 / math.pi))))
    else:
        gate = node.float_op("Erf", node.float_op("Mul", x.source, node.scalar(math.sqrt(0.5))))
    half = node.float_op("Mul", x.source, node.scalar(0.5))
    return node.result(node.float_op("Mul", half, node.float_op("AddV2", gate, node.scalar(1.0))), x.layout)


def lower_mish(node: OnnxNode) -> Tensor:
    """Lower Mish to x * tanh(softplus(x))."""
    x = node.tensor()
    gate = node.float_op("Tanh", node.float_op("Softplus", x.source))
    return node.result(node.float_op("Mul", x.source, gate), x.layout)


def lower_softsign(node: OnnxNode) -> Tensor:
    """Lower Softsign to x / (1 + |x|)."""
    x = node.tensor()
    denominator = node.float_op("AddV2", node.float_op("Abs", x.source), node.scalar(1.0))
    return node.result(node.float_op("RealDiv", x.source, denominator), x.layout)


def lower_thresholded_relu(node: OnnxNode) -> Tensor:
    """Lower ThresholdedRelu to x * (x > alpha)."""
    x = node.tensor()
    above = node.graph.add("Greater", [x.source, node.scalar(float(node.attr("alpha", 1.0)))], T=dtype_attr("float32"))
    mask = node.graph.add("Cast", [above], SrcT=dtype_attr("bool"), DstT=dtype_attr("float32"))
    return node.result(node.float_op("Mul", x.source, mask), x.layout)


LOWERINGS: dict[str, Lowering] = {
    "Relu": lower_relu,
    "Clip": lower_clip,
    "LeakyRelu": lower_leaky_relu,
    "PRelu": lower_prelu,
    "Elu": lower_elu,
    "Celu": lower_celu,
    "Selu": lower_selu,
    "HardSigmoid": lower_hard_sigmoid,
    "HardSwish": lower_hard_swish,
    "Gelu": lower_gelu,
    "Mish": lower_mish,
    "Softsign": lower_softsign,
    "ThresholdedRelu": lower_thresholded_relu,
}
