"""Batch, instance, layer, L2 and local response normalization."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op


def batch_norm(call: Call) -> Array:
    """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta, with one element of each per channel (axis 1)."""
    x = call.tensor("x")
    scale = 1.0 / np.sqrt(call.per_channel("variance", x.ndim) + call.scalar("epsilon", 1e-5))
    if "gamma" in call.arguments:
        scale = scale * call.per_channel("gamma", x.ndim)
    result = (x - call.per_channel("mean", x.ndim)) * scale
    return result + call.per_channel("beta", x.ndim) if "beta" in call.arguments else result


def instance_norm(call: Call) -> Array:
    """Standardize each channel over the spatial axes, then scale by gamma and shift by beta."""
    x = call.tensor("x")
    result = standardize(x, tuple(range(2, x.ndim)), call.scalar("epsilon", 1e-5))
    if "gamma" in call.arguments:
        result = result * call.per_channel("gamma", x.ndim)
    return result + call.per_channel("beta", x.ndim) if "beta" in call.arguments else result


def layer_norm(call: Call) -> Array:
    """Standardize over `axes` (default: all). gamma and beta have the shape of these axes."""
    x = call.tensor("x")
    axes = tuple(axis % x.ndim for axis in call.integers("axes", tuple(range(x.ndim))))
    result = standardize(x, axes, call.scalar("epsilon", 1e-5))
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(x.shape))
    if "gamma" in call.arguments:
        result = result * call.tensor("gamma").reshape(shape)
    return result + call.tensor("beta").reshape(shape) if "beta" in call.arguments else result


def standardize(x: Array, axes: tuple[int, ...], epsilon: np.float32) -> Array:
    """Return (x - mean) / sqrt(variance + epsilon) over `axes`."""
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + epsilon))


def l2_norm(call: Call) -> Array:
    """Divide x by the Euclidean norm over its last three axes."""
    x = call.tensor("x")
    axes = tuple(range(-min(3, x.ndim), 0))
    return np.asarray(x / np.sqrt(np.square(x).sum(axis=axes, keepdims=True) + call.scalar("epsilon", 1e-6)))


def local_response_norm(call: Call) -> Array:
    """Return x / (k + alpha / size * sum of squares of the `size` channels around) ** beta."""
    x, size = call.tensor("x"), call.integer("size")
    before = (size - 1) // 2
    squares = np.pad(np.square(x), [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = sum(squares[:, offset : offset + x.shape[1]] for offset in range(size))
    scale = call.scalar("k", 1.0) + call.scalar("alpha", 1e-4) / size * total
    return np.asarray(x / scale ** call.scalar("beta", 0.75))


OPS: Mapping[str, Op] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
}
