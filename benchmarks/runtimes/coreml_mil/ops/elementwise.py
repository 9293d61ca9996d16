"""Elementwise arithmetic, comparison and logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

# Terms of both expansions of erf: enough for 2e-15 over the whole range.
ERF_SERIES = 40


def unary(function: Callable[[Array], Array]) -> Op:
    return lambda call: function(call.tensor("x"))


def binary(function: Callable[[Array, Array], Any]) -> Op:
    def apply(call: Call) -> Array:
        result: Array = function(call.tensor("x"), call.tensor("y"))
        return result

    return apply


def erf(x: Array) -> Array:
    """Return the error function of x, computed to 2e-15 by two expansions in float64.

    Up to |x| = 2.5 it is the Taylor series whose terms are all positive (Abramowitz and Stegun 7.1.6), beyond that the
    continued fraction of the complement (7.1.14).
    """
    z = np.abs(np.asarray(x, np.float64))
    near = np.minimum(z, 2.5)
    term = near.copy()
    total = near.copy()
    for n in range(1, ERF_SERIES):
        term = term * (2.0 * near * near) / (2 * n + 1)
        total += term
    inner = 2.0 / np.sqrt(np.pi) * np.exp(-near * near) * total
    far = np.clip(z, 2.5, 8.0)
    fraction = np.zeros_like(far)
    for n in range(ERF_SERIES, 0, -1):
        fraction = (n / 2.0) / (far + fraction)
    outer = 1.0 - np.exp(-far * far) / (np.sqrt(np.pi) * (far + fraction))
    return np.asarray(np.sign(x) * np.where(z < 2.5, inner, outer)).astype(np.float32)


def cast(call: Call) -> Array:
    """Prepare the cast to the declared output dtype, which the evaluator applies: floats to integers truncate."""
    x = call.tensor("x")
    dtype = call.string("dtype")
    if dtype == "bool":
        return np.asarray(x != 0)
    return np.trunc(x) if "int" in dtype and x.dtype.kind == "f" else x


def floor_div(x: Array, y: Array) -> Array:
    return np.asarray(np.floor(x / y) if x.dtype.kind == "f" else x // y)


def real_div(x: Array, y: Array) -> Array:
    """Divide. Integers divide as floats, and the evaluator truncates them to the declared dtype."""
    return np.asarray(x / y)


def clip(call: Call) -> Array:
    return np.clip(call.tensor("x"), call.scalar("alpha"), call.scalar("beta"))


def inverse(call: Call) -> Array:
    return 1.0 / (call.tensor("x") + call.scalar("epsilon", 1e-4))


def log(call: Call) -> Array:
    return np.log(call.tensor("x") + call.scalar("epsilon", 1e-45))


def rsqrt(call: Call) -> Array:
    return 1.0 / np.sqrt(call.tensor("x") + call.scalar("epsilon", 1e-12))


def threshold(call: Call) -> Array:
    return np.maximum(call.tensor("x"), call.scalar("alpha"))


OPS: Mapping[str, Op] = {
    "abs": unary(np.abs),
    "acos": unary(np.arccos),
    "asin": unary(np.arcsin),
    "atan": unary(np.arctan),
    "atanh": unary(np.arctanh),
    "ceil": unary(np.ceil),
    "cos": unary(np.cos),
    "cosh": unary(np.cosh),
    "erf": unary(erf),
    "exp": unary(np.exp),
    "exp2": unary(np.exp2),
    "floor": unary(np.floor),
    "identity": unary(np.asarray),
    "logical_not": unary(np.logical_not),
    "round": unary(np.round),
    "sign": unary(np.sign),
    "sin": unary(np.sin),
    "sinh": unary(np.sinh),
    "sqrt": unary(np.sqrt),
    "square": unary(np.square),
    "tan": unary(np.tan),
    "tanh": unary(np.tanh),
    "add": binary(np.add),
    "equal": binary(np.equal),
    "floor_div": binary(floor_div),
    "greater": binary(np.greater),
    "greater_equal": binary(np.greater_equal),
    "less": binary(np.less),
    "less_equal": binary(np.less_equal),
    "logical_and": binary(np.logical_and),
    "logical_or": binary(np.logical_or),
    "logical_xor": binary(np.logical_xor),
    "maximum": binary(np.maximum),
    "minimum": binary(np.minimum),
    "mod": binary(np.mod),
    "mul": binary(np.multiply),
    "not_equal": binary(np.not_equal),
    "pow": binary(np.power),
    "real_div": binary(real_div),
    "sub": binary(np.subtract),
    "cast": cast,
    "clip": clip,
    "inverse": inverse,
    "log": log,
    "rsqrt": rsqrt,
    "threshold": threshold,
}
