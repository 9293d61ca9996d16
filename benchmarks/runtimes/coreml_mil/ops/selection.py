"""Gather, scatter, select, and tensors filled with constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op


def select(call: Call) -> Array:
    return np.where(call.tensor("cond").astype(bool), call.tensor("a"), call.tensor("b"))


def gather(call: Call) -> Array:
    """Take slices of x along `axis`. The first `batch_dims` axes of x and of indices are batches of the same size."""
    x, indices = call.tensor("x"), call.tensor("indices").astype(np.int64)
    axis, batch = call.integer("axis") % max(call.tensor("x").ndim, 1), call.integer("batch_dims")
    if batch == 0:
        return np.asarray(np.take(x, indices, axis))
    shape = x.shape[:batch]
    rows = [np.take(x[index], indices[index], axis - batch) for index in np.ndindex(shape)]
    return np.stack(rows).reshape((*shape, *rows[0].shape))


def gather_along_axis(call: Call) -> Array:
    return np.take_along_axis(call.tensor("x"), call.tensor("indices").astype(np.int64), call.integer("axis"))


def gather_nd(call: Call) -> Array:
    """Index x by the last axis of indices, which addresses the axes of x after the first `batch_dims`."""
    x, indices, batch = call.tensor("x"), call.tensor("indices").astype(np.int64), call.integer("batch_dims")
    if batch == 0:
        return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])
    shape = x.shape[:batch]
    rows = [x[index][tuple(np.moveaxis(indices[index], -1, 0))] for index in np.ndindex(shape)]
    return np.stack(rows).reshape((*shape, *rows[0].shape))


MODES = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum, "div": np.divide}


def combine(call: Call, index: tuple[Array | slice, ...]) -> Array:
    """Return a copy of `data` with `updates` written to, or combined with, `data[index]`. The default mode is "add"."""
    data, updates, mode = call.tensor("data").copy(), call.tensor("updates"), call.string("mode", "add")
    if mode == "update":
        data[index] = updates
    elif mode in MODES:
        MODES[mode].at(data, index, updates)  # type: ignore[arg-type]  # slices are indices too
    else:
        raise ValueError(f"scatter mode {mode!r} is not known (known: update, {', '.join(MODES)})")
    return data


def scatter_nd(call: Call) -> Array:
    """Update the elements or slices of data that the last axis of indices addresses."""
    return combine(call, tuple(np.moveaxis(call.tensor("indices").astype(np.int64), -1, 0)))


def scatter(call: Call) -> Array:
    """Update whole slices along `axis`: slice i of updates goes to indices[i]."""
    axis = call.integer("axis") % call.tensor("data").ndim
    return combine(call, (*(slice(None),) * axis, call.tensor("indices").astype(np.int64)))


def scatter_along_axis(call: Call) -> Array:
    """Update single elements: indices has the shape of updates, and holds the index of each along `axis`."""
    indices, axis = call.tensor("indices").astype(np.int64), call.integer("axis") % call.tensor("data").ndim
    index = list(np.indices(indices.shape, sparse=True))
    index[axis] = indices
    return combine(call, tuple(index))


def fill(call: Call) -> Array:
    value = call.tensor("value") if "value" in call.arguments else np.float32(0)
    return np.full(call.integers("shape"), value)


def fill_like(call: Call) -> Array:
    value = call.tensor("value") if "value" in call.arguments else np.float32(0)
    return np.full(call.tensor("ref_tensor").shape, value)


def one_hot(call: Call) -> Array:
    """Insert an axis of `one_hot_vector_size` at `axis`: on_value at the index, off_value elsewhere."""
    indices, size = call.tensor("indices"), call.integer("one_hot_vector_size")
    is_index = np.arange(size) == np.expand_dims(indices, -1)
    result = np.where(is_index, call.tensor("on_value"), call.tensor("off_value"))
    return np.moveaxis(result, -1, call.integer("axis", -1))


def range_1d(call: Call) -> Array:
    return np.arange(call.tensor("start"), call.tensor("end"), call.tensor("step"))


def shape(call: Call) -> Array:
    return np.array(call.tensor("x").shape, np.int32)


OPS: Mapping[str, Op] = {
    "fill": fill,
    "fill_like": fill_like,
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
    "one_hot": one_hot,
    "range_1d": range_1d,
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
    "select": select,
    "shape": shape,
}
