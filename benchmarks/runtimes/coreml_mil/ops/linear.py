"""Matrix products, attention, and quantization of activations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.activation import softmax
from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.values import BY_NAME


def linear(call: Call) -> Array:
    """Return x [..., I] @ weight [O, I] transposed + bias [O]."""
    product = call.tensor("x") @ call.tensor("weight").T
    bias = call.optional("bias")
    return np.asarray(product if bias is None else product + bias)


def matmul(call: Call) -> Array:
    x, y = call.tensor("x"), call.tensor("y")
    if call.boolean("transpose_x") and x.ndim > 1:
        x = np.swapaxes(x, -1, -2)
    if call.boolean("transpose_y") and y.ndim > 1:
        y = np.swapaxes(y, -1, -2)
    return np.asarray(np.matmul(x, y))


def einsum(call: Call) -> Array:
    result: Array = np.einsum(call.string("equation"), *call.tensors("values"), optimize=True)
    return result


def attention(call: Call) -> Array:
    """Return softmax(query @ key^T / sqrt(E) + mask) @ value. A boolean mask keeps the scores where it is True."""
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    scores = query @ np.swapaxes(key, -1, -2) / np.sqrt(np.float32(query.shape[-1]))
    mask = call.optional("attn_mask")
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = softmax(Call("softmax", call.name, {"x": scores}, call.outputs))
    return np.asarray(weights @ value)


def scale_and_zero_point(call: Call, x: Array) -> tuple[Array, Array]:
    """Return the scale and zero point of quantize and dequantize, in shapes that broadcast over `x`."""
    scale = call.tensor("scale")
    zero = call.optional("zero_point")
    zero = np.zeros((), np.float32) if zero is None else zero.astype(np.float32)
    axis = call.integer("axis") % x.ndim if x.ndim else 0
    shape = tuple(-1 if index == axis else 1 for index in range(x.ndim))
    return scale.reshape(shape) if scale.ndim else scale, zero.reshape(shape) if zero.ndim else zero


def quantize(call: Call) -> Array:
    x = call.tensor("input")
    scale, zero = scale_and_zero_point(call, x)
    limits = np.iinfo(BY_NAME[call.outputs[0][1].dtype].numpy)
    return np.clip(np.round(x / scale) + zero, limits.min, limits.max)


def dequantize(call: Call) -> Array:
    x = call.tensor("input").astype(np.float32)
    scale, zero = scale_and_zero_point(call, x)
    return (x - zero) * scale


OPS: Mapping[str, Op] = {
    "dequantize": dequantize,
    "einsum": einsum,
    "linear": linear,
    "matmul": matmul,
    "quantize": quantize,
    "scaled_dot_product_attention": attention,
}
