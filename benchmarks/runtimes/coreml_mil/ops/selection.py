"""Gathering, selecting, and tensors made from shapes and numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op


def select(call: Call) -> Array:
    return np.where(call.tensor("cond").astype(bool), call.tensor("a"), call.tensor("b"))


def gather(call: Call) -> Array:
    """Slices of x along `axis`; the first `batch_dims` axes of x and indices run together."""
    x, indices = call.tensor("x"), call.tensor("indices").astype(np.int64)
    axis, batch = call.whole("axis") % max(call.tensor("x").ndim, 1), call.whole("batch_dims")
    if batch == 0:
        return np.asarray(np.take(x, indices, axis))
    shape = x.shape[:batch]
    rows = [np.take(x[index], indices[index], axis - batch) for index in np.ndindex(shape)]
    return np.stack(rows).reshape((*shape, *rows[0].shape))


def gather_along_axis(call: Call) -> Array:
    return np.take_along_axis(call.tensor("x"), call.tensor("indices").astype(np.int64), call.whole("axis"))


def gather_nd(call: Call) -> Array:
    """The last axis of indices addresses the axes of x that follow the `batch_dims` first."""
    x, indices, batch = call.tensor("x"), call.tensor("indices").astype(np.int64), call.whole("batch_dims")
    if batch == 0:
        return np.asarray(x[tuple(np.moveaxis(indices, -1, 0))])
    shape = x.shape[:batch]
    rows = [x[index][tuple(np.moveaxis(indices[index], -1, 0))] for index in np.ndindex(shape)]
    return np.stack(rows).reshape((*shape, *rows[0].shape))


MODES = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum, "div": np.divide}


def combined(call: Call, place: tuple[Array | slice, ...]) -> Array:
    """A copy of `data` with `updates` put into, or combined with, what is at `place`; the default mode is "add"."""
    data, updates, mode = call.tensor("data").copy(), call.tensor("updates"), call.text("mode", "add")
    if mode == "update":
        data[place] = updates
    elif mode in MODES:
        MODES[mode].at(data, place, updates)  # type: ignore[arg-type]  # slices are indices too
    else:
        raise ValueError(f"scatter mode {mode!r} is not known (known: update, {', '.join(MODES)})")
    return data


def scatter_nd(call: Call) -> Array:
    return combined(call, tuple(np.moveaxis(call.tensor("indices").astype(np.int64), -1, 0)))


def scatter(call: Call) -> Array:
    """Whole slices along `axis`: slice i of updates goes to indices[i]."""
    axis = call.whole("axis") % call.tensor("data").ndim
    return combined(call, (*(slice(None),) * axis, call.tensor("indices").astype(np.int64)))


def scatter_along_axis(call: Call) -> Array:
    """Single values: indices has the shape of updates, and says where along `axis` each goes."""
    indices, axis = call.tensor("indices").astype(np.int64), call.whole("axis") % call.tensor("data").ndim
    place = list(np.indices(indices.shape, sparse=True))
    place[axis] = indices
    return combined(call, tuple(place))


def fill(call: Call) -> Array:
    value = call.tensor("value") if "value" in call.arguments else np.float32(0)
    return np.full(call.numbers("shape"), value)


def fill_like(call: Call) -> Array:
    value = call.tensor("value") if "value" in call.arguments else np.float32(0)
    return np.full(call.tensor("ref_tensor").shape, value)


def one_hot(call: Call) -> Array:
    """A new axis of `one_hot_vector_size` at `axis`: on_value where the index is, off_value elsewhere."""
    indices, size = call.tensor("indices"), call.whole("one_hot_vector_size")
    places = np.arange(size) == np.expand_dims(indices, -1)
    made = np.where(places, call.tensor("on_value"), call.tensor("off_value"))
    return np.moveaxis(made, -1, call.whole("axis", -1))


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
