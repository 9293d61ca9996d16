"""Reductions over axes, arguments of extremes, running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op


def reduction(function: Callable[..., Array]) -> Op:
    """`axes` missing means all of them."""

    def apply(call: Call) -> Array:
        x = call.tensor("x")
        axes = call.numbers("axes") if "axes" in call.arguments else tuple(range(x.ndim))
        return np.asarray(function(x, axis=axes, keepdims=call.flag("keep_dims")))

    return apply


def argument(function: Callable[..., Array]) -> Op:
    def apply(call: Call) -> Array:
        return np.asarray(function(call.tensor("x"), axis=call.whole("axis", -1), keepdims=call.flag("keep_dims")))

    return apply


def log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    top = x.max(axis=axis, keepdims=True)
    made = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return np.asarray(made if keepdims else np.squeeze(made, axis))


def cumsum(call: Call) -> Array:
    x, axis = call.tensor("x"), call.whole("axis")
    if call.flag("reverse"):
        x = np.flip(x, axis)
    made = np.cumsum(x, axis=axis, dtype=x.dtype)
    if call.flag("exclusive"):
        made = made - x
    return np.flip(made, axis) if call.flag("reverse") else made


def topk(call: Call) -> tuple[Array, ...]:
    """The k largest (or, `ascending`, smallest) values along an axis, in order, and where they were."""
    x, axis, k = call.tensor("x"), call.whole("axis", -1), call.whole("k", 1)
    rising = call.flag("ascending")
    order = np.argsort(x if rising else -x, axis=axis, kind="stable")
    indices = np.take(order, np.arange(k if k > 0 else x.shape[axis]), axis=axis)
    values = np.take_along_axis(x, indices, axis)
    return (values, indices) if call.flag("return_indices", True) else (values,)


def argsort(call: Call) -> Array:
    x, axis = call.tensor("x"), call.whole("axis", -1)
    return np.argsort(x if call.flag("ascending") else -x, axis=axis, kind="stable")


OPS: Mapping[str, Op] = {
    "argsort": argsort,
    "cumsum": cumsum,
    "reduce_argmax": argument(np.argmax),
    "reduce_argmin": argument(np.argmin),
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
