"""Constants and compressed weights. They are decoded once, when a file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, prod

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op, Value
from benchmarks.runtimes.coreml_mil.values import DType, decode


def const(call: Call) -> Array:
    value: Value = call.arguments["val"]
    return value  # type: ignore[return-value]  # a string constant stays a string


def affine_dequantize(call: Call) -> Array:
    """Return scale * (quantized_data - zero_point). Both are scalars, or vectors along `axis`."""
    data, axis = call.tensor("quantized_data"), call.integer("axis")
    shape = tuple(-1 if index == axis % data.ndim else 1 for index in range(data.ndim))
    scale, zero = (
        value.reshape(shape) if value.ndim else value for value in (call.tensor("scale"), call.tensor("zero_point"))
    )
    return np.asarray(scale * (data.astype(np.float32) - zero.astype(np.float32)))


def blockwise_shift_scale(call: Call) -> Array:
    """Return scale * (data - offset). scale and offset hold one element per block of data."""
    return shift_scale(call, call.tensor("data"))


def shift_scale(call: Call, data: Array) -> Array:
    scale = repeat_blocks(call.tensor("scale"), data.shape)
    offset = call.optional("offset")
    shifted = data.astype(np.float32)
    return scale * (shifted if offset is None else shifted - repeat_blocks(offset.astype(np.float32), data.shape))


def sparse_blockwise_shift_scale(call: Call) -> tuple[Array, Array]:
    """Return the mask, and scale * (data - offset) of the elements where it is 1, in its order."""
    mask, packed = call.tensor("data_mask"), call.tensor("nonzero_data")
    kept = mask.astype(bool)
    dense = np.zeros(mask.shape, packed.dtype)
    dense[kept] = packed
    return mask, shift_scale(call, dense)[kept]


def repeat_blocks(values: Array, shape: tuple[int, ...]) -> Array:
    """Repeat each element over its block, so that the result has `shape`."""
    for axis, size in enumerate(shape):
        if values.shape[axis] != size:
            values = np.repeat(values, size // values.shape[axis], axis)
    return values


def lut_to_dense(call: Call) -> Array:
    """Return palettized weights.

    iOS 16: indices packed into bytes, one palette of scalars, and a shape. iOS 18: indices of the weight's own shape,
    and a palette of scalars or vectors per group.
    """
    lut, indices = call.tensor("lut"), call.tensor("indices")
    if "shape" in call.arguments:
        bits = int(log2(lut.size))
        packed = DType(f"uint{bits}", bits, "uint8")
        return np.asarray(lut.ravel()[decode(indices.tobytes(), packed, call.integers("shape"))])
    return look_up(call, indices)


def look_up(call: Call, indices: Array) -> Array:
    """Return the palette entries at `indices`. `lut` is [*groups, entries, vector length]."""
    lut = call.tensor("lut")
    groups, size, length = lut.shape[:-2], lut.shape[-2], lut.shape[-1]
    palettes = lut.reshape(-1, size, length)
    palette = repeat_blocks(np.arange(prod(groups)).reshape(groups), indices.shape)
    entries = palettes[palette, indices]
    if length == 1:
        return np.asarray(entries[..., 0])
    axis = call.integer("vector_axis") % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= length
    return np.moveaxis(entries, -1, axis + 1).reshape(shape)


def lut_to_sparse(call: Call) -> tuple[Array, Array]:
    """Return the mask, and the palette entries of the elements where it is 1, in its order. Entries are scalars."""
    mask, packed = call.tensor("indices_mask"), call.tensor("indices_nonzero_data")
    if call.tensor("lut").shape[-1] != 1:
        raise NotImplementedError("a sparse palette of vectors")
    kept = mask.astype(bool)
    indices = np.zeros(mask.shape, packed.dtype)
    indices[kept] = packed
    return mask, look_up(call, indices)[kept]


def sparse_to_dense(call: Call) -> Array:
    """Return zeros except where the mask is 1. iOS 16 packs the mask into bytes and adds a shape; iOS 18 does not."""
    mask, data = call.tensor("mask"), call.tensor("nonzero_data")
    if "shape" in call.arguments:
        mask = decode(mask.tobytes(), DType("uint1", 1, "uint8"), call.integers("shape"))
    dense = np.zeros(mask.shape, data.dtype)
    dense[mask.astype(bool)] = data
    return dense


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
