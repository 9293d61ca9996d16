"""Reductions over axes, argmax and argmin, cumulative sums, sorting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op


def reduction(function: Callable[..., Array]) -> Op:
    """Return an op that reduces over `axes`, or over all axes where the argument is absent."""

    def apply(call: Call) -> Array:
        x = call.tensor("x")
        axes = call.integers("axes") if "axes" in call.arguments else tuple(range(x.ndim))
        return np.asarray(function(x, axis=axes, keepdims=call.boolean("keep_dims")))

    return apply


def arg_reduction(function: Callable[..., Array]) -> Op:
    """Return an op that finds the index of an extreme along one axis."""

    def apply(call: Call) -> Array:
        return np.asarray(function(call.tensor("x"), axis=call.integer("axis", -1), keepdims=call.boolean("keep_dims")))

    return apply


def log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    top = x.max(axis=axis, keepdims=True)
    result = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return np.asarray(result if keepdims else np.squeeze(result, axis))


def cumsum(call: Call) -> Array:
    x, axis = call.tensor("x"), call.integer("axis")
    if call.boolean("reverse"):
        x = np.flip(x, axis)
    sums = np.cumsum(x, axis=axis, dtype=x.dtype)
    if call.boolean("exclusive"):
        sums = sums - x
    return np.flip(sums, axis) if call.boolean("reverse") else sums


def topk(call: Call) -> tuple[Array, ...]:
    """Return the k largest (`ascending`: smallest) elements along an axis, in order, and their indices."""
    x, axis, k = call.tensor("x"), call.integer("axis", -1), call.integer("k", 1)
    order = np.argsort(x if call.boolean("ascending") else -x, axis=axis, kind="stable")
    indices = np.take(order, np.arange(k if k > 0 else x.shape[axis]), axis=axis)
    values = np.take_along_axis(x, indices, axis)
    return (values, indices) if call.boolean("return_indices", True) else (values,)


def argsort(call: Call) -> Array:
    x, axis = call.tensor("x"), call.integer("axis", -1)
    return np.argsort(x if call.boolean("ascending") else -x, axis=axis, kind="stable")


OPS: Mapping[str, Op] = {
    "argsort": argsort,
    "cumsum": cumsum,
    "reduce_argmax": arg_reduction(np.argmax),
    "reduce_argmin": arg_reduction(np.argmin),
    "reduce_l1_norm": reduction(lambda x, axis, keepdims: np.abs(x).sum(axis=axis, keepdims=keepdims)),
    "reduce_l2_norm": reduction(lambda x, axis, keepdims: np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))),
    "reduce_log_sum": reduction(lambda x, axis, keepdims: np.log(x.sum(axis=axis, keepdims=keepdims))),
    "reduce_log_sum_exp": reduction(log_sum_exp),
    "reduce_max": reduction(np.max),
    "reduce_mean": reduction(np.mean),
    "reduce_min": reduction(np.min),
    "reduce_prod": reduction(np.prod),
    "reduce_sum": reduction(np.sum),
    "reduce_sum_square": reduction(lambda x, axis, keepdims: np.square(x).sum(axis=axis, keepdims=keepdims)),
    "topk": topk,
}
