"""Lower elementwise ops: arithmetic, comparison, logic, selection."""

from __future__ import annotations

from functools import reduce

import numpy as np

from export.targets.tfjs.graph import Constant, Tensor, UnsupportedOp, bool_attr, dtype_attr
from export.targets.tfjs.onnx_node import Lowering, OnnxNode

# ONNX op -> TF.js op.
UNARY = {
    **{name: name for name in ("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh")},
    **{name: name for name in ("Erf", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Round", "Sign", "Sin", "Sinh")},
    **{name: name for name in ("Sqrt", "Tan", "Tanh", "Sigmoid", "Softplus")},
    "IsNaN": "IsNan",
    "IsInf": "IsInf",
}
BINARY = {"Add": "AddV2", "Sub": "Sub", "Mul": "Mul", "Pow": "Pow", "Max": "Maximum", "Min": "Minimum", "Sum": "AddV2"}
COMPARE = {
    "Equal": "Equal",
    "Greater": "Greater",
    "GreaterOrEqual": "GreaterEqual",
    "Less": "Less",
    "LessOrEqual": "LessEqual",
}


def lower_unary(node: OnnxNode) -> Tensor:
    x = node.tensor()
    return node.result(node.graph.add(UNARY[node.op_type], [x.source], T=dtype_attr(x.dtype)), x.layout)


def lower_binary(node: OnnxNode) -> Tensor:
    """Lower an op of two or more operands. Variadic ops (Max, Min, Sum) combine them pairwise from the left."""
    values = [node.operand(index) for index in range(len(node.operands))]
    operands, layout = node.graph.broadcast(values, len(node.shape))
    op, attrs = BINARY[node.op_type], {"T": dtype_attr(node.dtype)}
    return node.result(reduce(lambda left, right: node.graph.add(op, [left, right], **attrs), operands), layout)


def lower_pow(node: OnnxNode) -> Tensor:
    """Lower Pow; for the exponents 2, 0.5 and 3 to Square, Sqrt and a product, which are exact for a negative base."""
    exponent = node.operand(1)
    if isinstance(exponent, Constant) and exponent.value.size == 1 and len(node.operand(0).shape) == len(node.shape):
        op = {2.0: "Square", 0.5: "Sqrt"}.get(float(exponent.value.reshape(())))
        if op:
            return node.result(node.float_op(op, node.tensor().source), node.tensor().layout)
        if float(exponent.value.reshape(())) == 3.0:
            x = node.tensor()
            return node.result(node.float_op("Mul", node.float_op("Square", x.source), x.source), x.layout)
    if isinstance(exponent, Constant):
        exponent = Constant(exponent.value.astype(np.float32), exponent.name)
    operands, layout = node.graph.broadcast([node.operand(0), exponent], len(node.shape))
    return node.result(node.float_op("Pow", *operands), layout)


def lower_div(node: OnnxNode) -> Tensor:
    """Lower Div. Integers are divided in float32 and truncated towards zero: exact below 2**24, as indices are."""
    operands, layout = node.graph.broadcast([node.operand(0), node.operand(1)], len(node.shape))
    if node.dtype == "float32":
        return node.result(node.float_op("RealDiv", *operands), layout)
    integer, real = dtype_attr(node.dtype), dtype_attr("float32")
    floats = [node.graph.add("Cast", [operand], SrcT=integer, DstT=real) for operand in operands]
    quotient = node.float_op("RealDiv", *floats)
    sign, magnitude = node.float_op("Sign", quotient), node.float_op("Floor", node.float_op("Abs", quotient))
    truncated = node.float_op("Mul", sign, magnitude)
    return node.result(node.graph.add("Cast", [truncated], SrcT=real, DstT=integer), layout)


def lower_mod(node: OnnxNode) -> Tensor:
    if node.attr("fmod", 0):
        raise UnsupportedOp("has fmod=1; supported: the remainder with the divisor's sign")
    operands, layout = node.graph.broadcast([node.operand(0), node.operand(1)], len(node.shape))
    return node.result(node.graph.add("FloorMod", operands, T=dtype_attr(node.dtype)), layout)


def lower_mean(node: OnnxNode) -> Tensor:
    """Lower Mean, the elementwise mean of all operands."""
    values = [node.operand(index) for index in range(len(node.operands))]
    operands, layout = node.graph.broadcast(values, len(node.shape))
    total = reduce(lambda left, right: node.float_op("AddV2", left, right), operands)
    return node.result(node.float_op("Mul", total, node.scalar(1.0 / len(operands))), layout)


def lower_compare(node: OnnxNode) -> Tensor:
    """Lower a comparison. The attribute T is the dtype of the operands, not that of the bool result."""
    left, right = node.operand(0), node.operand(1)
    operands, layout = node.graph.broadcast([left, right], len(node.shape))
    attrs = {"T": dtype_attr(left.dtype)}
    if node.op_type == "Equal":
        attrs["incompatible_shape_error"] = bool_attr(True)
    return node.result(node.graph.add(COMPARE[node.op_type], operands, **attrs), layout)


def lower_logical(node: OnnxNode) -> Tensor:
    operands, layout = node.graph.broadcast([node.operand(0), node.operand(1)], len(node.shape))
    if node.op_type == "Xor":
        attrs = {"T": dtype_attr("bool"), "incompatible_shape_error": bool_attr(True)}
        return node.result(node.graph.add("NotEqual", operands, **attrs), layout)
    return node.result(node.graph.add(f"Logical{node.op_type}", operands), layout)


def lower_not(node: OnnxNode) -> Tensor:
    x = node.tensor()
    return node.result(node.graph.add("LogicalNot", [x.source]), x.layout)


def lower_where(node: OnnxNode) -> Tensor:
    operands, layout = node.graph.broadcast([node.operand(index) for index in range(3)], len(node.shape))
    return node.result(node.graph.add("SelectV2", operands, T=dtype_attr(node.dtype)), layout)


LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(UNARY, lower_unary),
    **dict.fromkeys(BINARY, lower_binary),
    **dict.fromkeys(COMPARE, lower_compare),
    **dict.fromkeys(("And", "Or", "Xor"), lower_logical),
    "Pow": lower_pow,
    "Div": lower_div,
    "Mod": lower_mod,
    "Mean": lower_mean,
    "Not": lower_not,
    "Where": lower_where,
}
