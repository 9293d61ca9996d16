"""Matrix products, and quantization of activations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.activation import softmax
from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.values import BY_NAME


def linear(call: Call) -> Array:
    """x [..., I] times weight [O, I] transposed, plus bias [O]."""
    made = call.tensor("x") @ call.tensor("weight").T
    bias = call.maybe("bias")
    return np.asarray(made if bias is None else made + bias)


def matmul(call: Call) -> Array:
    x, y = call.tensor("x"), call.tensor("y")
    if call.flag("transpose_x") and x.ndim > 1:
        x = np.swapaxes(x, -1, -2)
    if call.flag("transpose_y") and y.ndim > 1:
        y = np.swapaxes(y, -1, -2)
    return np.asarray(np.matmul(x, y))


def einsum(call: Call) -> Array:
    made: Array = np.einsum(call.text("equation"), *call.tensors("values"), optimize=True)
    return made


def attention(call: Call) -> Array:
    """softmax(query key^T / sqrt(E) + mask) value. A boolean mask keeps what is True."""
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    scores = query @ np.swapaxes(key, -1, -2) / np.sqrt(np.float32(query.shape[-1]))
    mask = call.maybe("attn_mask")
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = softmax(Call("softmax", call.name, {"x": scores}, call.outputs))
    return np.asarray(weights @ value)


def per_channel(call: Call, x: Array) -> tuple[Array, Array]:
    """Scale and zero point of quantize and dequantize, shaped to broadcast over `x`."""
    scale = call.tensor("scale")
    zero = call.maybe("zero_point")
    zero = np.zeros((), np.float32) if zero is None else zero.astype(np.float32)
    axis = call.whole("axis") % x.ndim if x.ndim else 0
    shape = tuple(-1 if index == axis else 1 for index in range(x.ndim))
    return scale.reshape(shape) if scale.ndim else scale, zero.reshape(shape) if zero.ndim else zero


def quantize(call: Call) -> Array:
    x = call.tensor("input")
    scale, zero = per_channel(call, x)
    limits = np.iinfo(BY_NAME[call.outputs[0][1].dtype].numpy)
    return np.clip(np.round(x / scale) + zero, limits.min, limits.max)


def dequantize(call: Call) -> Array:
    x = call.tensor("input").astype(np.float32)
    scale, zero = per_channel(call, x)
    return (x - zero) * scale


OPS: Mapping[str, Op] = {
    "dequantize": dequantize,
    "einsum": einsum,
    "linear": linear,
    "matmul": matmul,
    "quantize": quantize,
    "scaled_dot_product_attention": attention,
}
