"""Activation functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.ops.elementwise import erf, unary


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow for large |x|."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, np.float32(1), small) / (1.0 + small))


def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(x, np.float32(0)))


def gelu(call: Call) -> Array:
    x, mode = call.tensor("x"), call.string("mode", "EXACT")
    if mode == "EXACT":
        return np.asarray(0.5 * x * (1.0 + erf(x * np.float32(np.sqrt(0.5)))))
    if mode == "TANH_APPROXIMATION":
        inner = np.float32(np.sqrt(2.0 / np.pi)) * (x + np.float32(0.044715) * x**3)
        return np.asarray(0.5 * x * (1.0 + np.tanh(inner)))
    if mode == "SIGMOID_APPROXIMATION":
        return x * sigmoid(np.float32(1.702) * x)
    raise ValueError(f"gelu mode {mode!r} is not known (known: EXACT, TANH_APPROXIMATION, SIGMOID_APPROXIMATION)")


def elu(call: Call) -> Array:
    x = call.tensor("x")
    return np.where(x > 0, x, call.scalar("alpha") * np.expm1(np.minimum(x, 0)))


def leaky_relu(call: Call) -> Array:
    x = call.tensor("x")
    return np.where(x >= 0, x, call.scalar("alpha") * x)


def prelu(call: Call) -> Array:
    x = call.tensor("x")
    return np.where(x > 0, x, call.per_channel("alpha", x.ndim) * x)


def clamped_relu(call: Call) -> Array:
    x = call.tensor("x")
    return np.asarray(np.minimum(call.scalar("beta"), np.where(x >= 0, x, call.scalar("alpha") * x)))


def thresholded_relu(call: Call) -> Array:
    x = call.tensor("x")
    return np.where(x >= call.scalar("alpha"), x, np.float32(0))


def linear_activation(call: Call) -> Array:
    return np.asarray(call.tensor("x") * call.scalar("alpha") + call.scalar("beta"))


def scaled_tanh(call: Call) -> Array:
    return np.asarray(call.scalar("alpha") * np.tanh(call.tensor("x") * call.scalar("beta")))


def sigmoid_hard(call: Call) -> Array:
    return np.clip(call.tensor("x") * call.scalar("alpha") + call.scalar("beta"), 0, 1)


def softplus_parametric(call: Call) -> Array:
    x = call.tensor("x")
    return call.per_channel("alpha", x.ndim) * softplus(x * call.per_channel("beta", x.ndim))


def softmax(call: Call) -> Array:
    x, axis = call.tensor("x"), call.integer("axis", -1)
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


OPS: Mapping[str, Op] = {
    "clamped_relu": clamped_relu,
    "elu": elu,
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "linear_activation": linear_activation,
    "prelu": prelu,
    "relu": unary(lambda x: np.maximum(x, 0)),
    "relu6": unary(lambda x: np.clip(x, 0, 6)),
    "scaled_tanh": scaled_tanh,
    "sigmoid": unary(sigmoid),
    "sigmoid_hard": sigmoid_hard,
    "silu": unary(lambda x: x * sigmoid(x)),
    "softmax": softmax,
    "softplus": unary(softplus),
    "softplus_parametric": softplus_parametric,
    "softsign": unary(lambda x: x / (1.0 + np.abs(x))),
    "thresholded_relu": thresholded_relu,
}
