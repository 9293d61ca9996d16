"""Normalization layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op


def batch_norm(call: Call) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, one value of each a channel (axis 1)."""
    x = call.tensor("x")
    scale = 1.0 / np.sqrt(call.channels("variance", x.ndim) + call.real("epsilon", 1e-5))
    if "gamma" in call.arguments:
        scale = scale * call.channels("gamma", x.ndim)
    made = (x - call.channels("mean", x.ndim)) * scale
    return made + call.channels("beta", x.ndim) if "beta" in call.arguments else made


def instance_norm(call: Call) -> Array:
    x = call.tensor("x")
    made = standardize(x, tuple(range(2, x.ndim)), call.real("epsilon", 1e-5))
    if "gamma" in call.arguments:
        made = made * call.channels("gamma", x.ndim)
    return made + call.channels("beta", x.ndim) if "beta" in call.arguments else made


def layer_norm(call: Call) -> Array:
    """Over `axes` (default: all); gamma and beta have the shape of those axes."""
    x = call.tensor("x")
    axes = tuple(axis % x.ndim for axis in call.numbers("axes", tuple(range(x.ndim))))
    made = standardize(x, axes, call.real("epsilon", 1e-5))
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(x.shape))
    if "gamma" in call.arguments:
        made = made * call.tensor("gamma").reshape(shape)
    return made + call.tensor("beta").reshape(shape) if "beta" in call.arguments else made


def standardize(x: Array, axes: tuple[int, ...], epsilon: np.float32) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + epsilon))


def l2_norm(call: Call) -> Array:
    """x over the Euclidean norm of its last three axes."""
    x = call.tensor("x")
    axes = tuple(range(-min(3, x.ndim), 0))
    return np.asarray(x / np.sqrt(np.square(x).sum(axis=axes, keepdims=True) + call.real("epsilon", 1e-6)))


def local_response_norm(call: Call) -> Array:
    """x / (k + alpha / size * the sum of squares of the `size` channels around) ** beta."""
    x, size = call.tensor("x"), call.whole("size")
    before = (size - 1) // 2
    squares = np.pad(np.square(x), [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = sum(squares[:, offset : offset + x.shape[1]] for offset in range(size))
    scale = call.real("k", 1.0) + call.real("alpha", 1e-4) / size * total
    return np.asarray(x / scale ** call.real("beta", 0.75))


OPS: Mapping[str, Op] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
}
