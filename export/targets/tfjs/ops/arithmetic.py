"""Elementwise ops on one or several operands, comparisons, logic and selection."""

from __future__ import annotations

from functools import reduce

import numpy as np

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import Fixed, Ref, Unsupported, a_bool, a_type

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


def unary(call: Call) -> Ref:
    x = call.ref()
    return call.made(call.graph.add(UNARY[call.op], [x.wire], T=a_type(x.dtype)), x.order)


def binary(call: Call) -> Ref:
    """Two or more operands, combined pairwise from the left as ONNX's variadic ops are."""
    values = [call.value(index) for index in range(len(call.inputs))]
    wires, order = call.graph.together(values, len(call.shapes[0]))
    attrs = {"T": a_type(call.dtypes[0])}
    return call.made(reduce(lambda left, right: call.graph.add(BINARY[call.op], [left, right], **attrs), wires), order)


def power(call: Call) -> Ref:
    """Pow; a square and a square root have kernels of their own, which are exact for negative bases."""
    exponent = call.value(1)
    if isinstance(exponent, Fixed) and exponent.value.size == 1 and len(call.value(0).shape) == len(call.shapes[0]):
        op = {2.0: "Square", 0.5: "Sqrt"}.get(float(exponent.value.reshape(())))
        if op:
            return call.made(call.float_op(op, call.ref().wire), call.ref().order)
        if float(exponent.value.reshape(())) == 3.0:
            x = call.ref()
            return call.made(call.float_op("Mul", call.float_op("Square", x.wire), x.wire), x.order)
    if isinstance(exponent, Fixed):
        exponent = Fixed(exponent.value.astype(np.float32), exponent.name)
    wires, order = call.graph.together([call.value(0), exponent], len(call.shapes[0]))
    return call.made(call.float_op("Pow", *wires), order)


def divide(call: Call) -> Ref:
    wires, order = call.graph.together([call.value(0), call.value(1)], len(call.shapes[0]))
    if call.dtypes[0] == "float32":
        return call.made(call.float_op("RealDiv", *wires), order)
    # Whole numbers: rounded to zero, exact below 2^24, as indices are.
    whole, real = a_type(call.dtypes[0]), a_type("float32")
    floats = [call.graph.add("Cast", [wire], SrcT=whole, DstT=real) for wire in wires]
    quotient = call.float_op("RealDiv", *floats)
    down = call.float_op("Mul", call.float_op("Sign", quotient), call.float_op("Floor", call.float_op("Abs", quotient)))
    return call.made(call.graph.add("Cast", [down], SrcT=real, DstT=whole), order)


def modulo(call: Call) -> Ref:
    if call.attr("fmod", 0):
        raise Unsupported("has fmod=1; supported: the remainder with the divisor's sign")
    wires, order = call.graph.together([call.value(0), call.value(1)], len(call.shapes[0]))
    return call.made(call.graph.add("FloorMod", wires, T=a_type(call.dtypes[0])), order)


def mean_of(call: Call) -> Ref:
    values = [call.value(index) for index in range(len(call.inputs))]
    wires, order = call.graph.together(values, len(call.shapes[0]))
    total = reduce(lambda left, right: call.float_op("AddV2", left, right), wires)
    return call.made(call.float_op("Mul", total, call.number(1.0 / len(wires))), order)


def compare(call: Call) -> Ref:
    """Both operands have the same type, which is not that of the result."""
    left, right = call.value(0), call.value(1)
    wires, order = call.graph.together([left, right], len(call.shapes[0]))
    attrs = {"T": a_type(left.dtype)}
    if call.op == "Equal":
        attrs["incompatible_shape_error"] = a_bool(True)
    return call.made(call.graph.add(COMPARE[call.op], wires, **attrs), order)


def logic(call: Call) -> Ref:
    wires, order = call.graph.together([call.value(0), call.value(1)], len(call.shapes[0]))
    if call.op == "Xor":
        attrs = {"T": a_type("bool"), "incompatible_shape_error": a_bool(True)}
        return call.made(call.graph.add("NotEqual", wires, **attrs), order)
    return call.made(call.graph.add(f"Logical{call.op}", wires), order)


def negation(call: Call) -> Ref:
    x = call.ref()
    return call.made(call.graph.add("LogicalNot", [x.wire]), x.order)


def where(call: Call) -> Ref:
    wires, order = call.graph.together([call.value(index) for index in range(3)], len(call.shapes[0]))
    return call.made(call.graph.add("SelectV2", wires, T=a_type(call.dtypes[0])), order)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(COMPARE, compare),
    **dict.fromkeys(("And", "Or", "Xor"), logic),
    "Pow": power,
    "Div": divide,
    "Mod": modulo,
    "Mean": mean_of,
    "Not": negation,
    "Where": where,
}
