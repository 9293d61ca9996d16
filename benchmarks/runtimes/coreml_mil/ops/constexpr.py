"""Constants, and weights stored compressed: decoded once, when a file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, prod

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op, Value
from benchmarks.runtimes.coreml_mil.values import DType, decode


def const(call: Call) -> Array:
    value: Value = call.arguments["val"]
    return value  # type: ignore[return-value]  # a string constant is kept as it is


def affine_dequantize(call: Call) -> Array:
    """scale * (quantized_data - zero_point), both a scalar or one a channel of `axis`."""
    data, axis = call.tensor("quantized_data"), call.whole("axis")
    shape = tuple(-1 if index == axis % data.ndim else 1 for index in range(data.ndim))
    scale, zero = (
        value.reshape(shape) if value.ndim else value for value in (call.tensor("scale"), call.tensor("zero_point"))
    )
    return np.asarray(scale * (data.astype(np.float32) - zero.astype(np.float32)))


def blockwise_shift_scale(call: Call) -> Array:
    """scale * (data - offset); scale and offset hold one value a block of data."""
    return shift_scale(call, call.tensor("data"))


def shift_scale(call: Call, data: Array) -> Array:
    scale = spread(call.tensor("scale"), data.shape)
    offset = call.maybe("offset")
    shifted = data.astype(np.float32)
    return scale * (shifted if offset is None else shifted - spread(offset.astype(np.float32), data.shape))


def sparse_blockwise_shift_scale(call: Call) -> tuple[Array, Array]:
    """The same for the values a mask names alone, in the mask's order; the mask is handed on."""
    mask, found = call.tensor("data_mask"), call.tensor("nonzero_data")
    kept = mask.astype(bool)
    dense = np.zeros(mask.shape, found.dtype)
    dense[kept] = found
    return mask, shift_scale(call, dense)[kept]


def spread(values: Array, shape: tuple[int, ...]) -> Array:
    """Repeat each value over its block, so that it has `shape`."""
    for axis, size in enumerate(shape):
        if values.shape[axis] != size:
            values = np.repeat(values, size // values.shape[axis], axis)
    return values


def lut_to_dense(call: Call) -> Array:
    """Palettized weights. iOS 16: indices packed into bytes, one table, a shape. iOS 18: tables a group, vectors."""
    lut, indices = call.tensor("lut"), call.tensor("indices")
    if "shape" in call.arguments:
        bits = int(log2(lut.size))
        packed = DType(f"uint{bits}", bits, "uint8")
        return np.asarray(lut.ravel()[decode(indices.tobytes(), packed, call.numbers("shape"))])
    return looked_up(call, indices)


def looked_up(call: Call, indices: Array) -> Array:
    lut = call.tensor("lut")
    groups, size, length = lut.shape[:-2], lut.shape[-2], lut.shape[-1]
    tables = lut.reshape(-1, size, length)
    table = spread(np.arange(prod(groups)).reshape(groups), indices.shape)
    found = tables[table, indices]
    if length == 1:
        return np.asarray(found[..., 0])
    axis = call.whole("vector_axis") % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= length
    return np.moveaxis(found, -1, axis + 1).reshape(shape)


def lut_to_sparse(call: Call) -> tuple[Array, Array]:
    """Palettized values where a mask says, in the mask's order; the mask is handed on. Tables hold numbers."""
    mask, found = call.tensor("indices_mask"), call.tensor("indices_nonzero_data")
    if call.tensor("lut").shape[-1] != 1:
        raise NotImplementedError("a sparse palette of vectors")
    kept = mask.astype(bool)
    indices = np.zeros(mask.shape, found.dtype)
    indices[kept] = found
    return mask, looked_up(call, indices)[kept]


def sparse_to_dense(call: Call) -> Array:
    """Zeros except where a bit mask says. iOS 16 packs the mask into bytes and gives a shape; iOS 18 does neither."""
    mask, data = call.tensor("mask"), call.tensor("nonzero_data")
    if "shape" in call.arguments:
        mask = decode(mask.tobytes(), DType("uint1", 1, "uint8"), call.numbers("shape"))
    made = np.zeros(mask.shape, data.dtype)
    made[mask.astype(bool)] = data
    return made


def cast(call: Call) -> Array:
    return call.tensor("source_val")


OPS: Mapping[str, Op] = {
    "const": const,
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_cast": cast,
    "constexpr_lut_to_dense": lut_to_dense,
    "constexpr_lut_to_sparse": lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": sparse_to_dense,
}
