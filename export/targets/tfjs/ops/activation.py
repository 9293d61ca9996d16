"""Activations. ReLU and ReLU6 are fused into the convolution before them."""

from __future__ import annotations

import math

import numpy as np

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import Fixed, Ref, Wire, a_float, a_texts, a_type
from export.targets.tfjs.ops.convolution import FUSED


def activate(call: Call, op: str) -> Ref:
    """A parameterless activation: inside the convolution that alone feeds it, or as a node."""
    x = call.ref()
    node, _ = x.wire
    if op in ("Relu", "Relu6") and call.sole and node.op in FUSED and node.attrs["fused_ops"] == a_texts(["BiasAdd"]):
        node.attrs["fused_ops"] = a_texts(["BiasAdd", op])
        return x
    return call.made(call.float_op(op, x.wire), x.order)


def relu(call: Call) -> Ref:
    return activate(call, "Relu")


def bound(call: Call, index: int, default: float) -> float:
    return float(np.asarray(call.known(index, "a bound")).reshape(())) if call.has(index) else default


def clip(call: Call) -> Ref:
    low, high = bound(call, 1, -math.inf), bound(call, 2, math.inf)
    x = call.ref()
    # Exporters spell "no bound" as the largest float.
    low, high = (-math.inf if low < -3e38 else low), (math.inf if high > 3e38 else high)
    if x.dtype == "float32" and low == 0 and high in (6, math.inf):
        return activate(call, "Relu6" if high == 6 else "Relu")
    number = np.float32 if x.dtype == "float32" else np.int32
    wire = x.wire
    if x.dtype == "float32" and math.isfinite(low) and math.isfinite(high):
        return call.made(call.float_op("ClipByValue", wire, call.number(low), call.number(high)), x.order)
    if math.isfinite(low):
        wire = call.graph.add("Maximum", [wire, call.graph.const(number(low))], T=a_type(x.dtype))
    if math.isfinite(high):
        wire = call.graph.add("Minimum", [wire, call.graph.const(number(high))], T=a_type(x.dtype))
    return call.made(wire, x.order)


def leaky_relu(call: Call) -> Ref:
    x = call.ref()
    return leaky(call, x, float(call.attr("alpha", 0.01)))


def leaky(call: Call, x: Ref, slope: float) -> Ref:
    return call.made(call.graph.add("LeakyRelu", [x.wire], T=a_type("float32"), alpha=a_float(slope)), x.order)


def prelu(call: Call) -> Ref:
    """max(x, 0) + slope * min(x, 0): TF.js's Prelu node is not a TensorFlow op, so it could not be cross-checked."""
    x, slope = call.ref(), call.value(1)
    if isinstance(slope, Fixed) and np.unique(slope.value).size == 1:
        return leaky(call, x, float(slope.value.reshape(-1)[0]))
    (source, factor), order = call.graph.together([x, slope], len(x.shape))
    negative = call.float_op("Mul", call.float_op("Minimum", source, call.number(0.0)), factor)
    return call.made(call.float_op("AddV2", call.float_op("Relu", source), negative), order)


def elu(call: Call) -> Ref:
    x, alpha = call.ref(), float(call.attr("alpha", 1.0))
    if alpha == 1.0:
        return call.made(call.float_op("Elu", x.wire), x.order)
    return exponential(call, x, alpha, 1.0)


def celu(call: Call) -> Ref:
    alpha = float(call.attr("alpha", 1.0))
    return exponential(call, call.ref(), alpha, 1.0 / alpha)


def selu(call: Call) -> Ref:
    alpha, gamma = float(call.attr("alpha", 1.6732632)), float(call.attr("gamma", 1.0507009))
    made = exponential(call, call.ref(), alpha, 1.0)
    return call.made(call.float_op("Mul", made.wire, call.number(gamma)), made.order)


def exponential(call: Call, x: Ref, alpha: float, inner: float) -> Ref:
    """max(x, 0) + alpha * elu(min(inner * x, 0)); elu below zero is exp(x) - 1 without its cancellation."""
    low = call.float_op("Minimum", x.wire, call.number(0.0))
    low = low if inner == 1.0 else call.float_op("Mul", low, call.number(inner))
    below = call.float_op("Mul", call.float_op("Elu", low), call.number(alpha))
    return call.made(call.float_op("AddV2", call.float_op("Relu", x.wire), below), x.order)


def hard_gate(call: Call, x: Ref, slope: float, offset: float) -> Wire:
    """clip(slope * x + offset, 0, 1); the usual 1/6 and 0.5 by ReLU6, which every backend has."""
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5:
        shifted = call.float_op("AddV2", x.wire, call.number(3.0))
        return call.float_op("Mul", call.float_op("Relu6", shifted), call.number(1 / 6))
    line = call.float_op("AddV2", call.float_op("Mul", x.wire, call.number(slope)), call.number(offset))
    return call.float_op("ClipByValue", line, call.number(0.0), call.number(1.0))


def hard_sigmoid(call: Call) -> Ref:
    x = call.ref()
    return call.made(hard_gate(call, x, float(call.attr("alpha", 0.2)), float(call.attr("beta", 0.5))), x.order)


def hard_swish(call: Call) -> Ref:
    x = call.ref()
    return call.made(call.float_op("Mul", x.wire, hard_gate(call, x, 1 / 6, 0.5)), x.order)


def gelu(call: Call) -> Ref:
    x = call.ref()
    if call.text("approximate", "none") == "tanh":
        cube = call.float_op("Mul", call.float_op("Square", x.wire), x.wire)
        inner = call.float_op("AddV2", x.wire, call.float_op("Mul", cube, call.number(0.044715)))
        gate = call.float_op("Tanh", call.float_op("Mul", inner, call.number(math.sqrt(2 / math.pi))))
    else:
        gate = call.float_op("Erf", call.float_op("Mul", x.wire, call.number(math.sqrt(0.5))))
    half = call.float_op("Mul", x.wire, call.number(0.5))
    return call.made(call.float_op("Mul", half, call.float_op("AddV2", gate, call.number(1.0))), x.order)


def mish(call: Call) -> Ref:
    x = call.ref()
    gate = call.float_op("Tanh", call.float_op("Softplus", x.wire))
    return call.made(call.float_op("Mul", x.wire, gate), x.order)


def softsign(call: Call) -> Ref:
    x = call.ref()
    below = call.float_op("AddV2", call.float_op("Abs", x.wire), call.number(1.0))
    return call.made(call.float_op("RealDiv", x.wire, below), x.order)


def thresholded_relu(call: Call) -> Ref:
    x = call.ref()
    above = call.graph.add("Greater", [x.wire, call.number(float(call.attr("alpha", 1.0)))], T=a_type("float32"))
    mask = call.graph.add("Cast", [above], SrcT=a_type("bool"), DstT=a_type("float32"))
    return call.made(call.float_op("Mul", x.wire, mask), x.order)


HANDLERS: dict[str, Handler] = {
    "Relu": relu,
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Elu": elu,
    "Celu": celu,
    "Selu": selu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Gelu": gelu,
    "Mish": mish,
    "Softsign": softsign,
    "ThresholdedRelu": thresholded_relu,
}
