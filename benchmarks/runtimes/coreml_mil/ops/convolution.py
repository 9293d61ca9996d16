"""`conv` and `conv_transpose` in one, two or three spatial dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.ops.windows import pad_spatial, padding, tap

# Channels per block of a depthwise convolution: a block and its accumulator stay in the cache.
BLOCK = 16


def conv(call: Call) -> Array:
    """Convolve x [N, C, *D] with weight [O, C / groups, *K] to [N, O, *D_out]."""
    x, weight = call.tensor("x"), call.tensor("weight")
    kernel = weight.shape[2:]
    ones = (1,) * len(kernel)
    strides, dilations = call.integers("strides", ones), call.integers("dilations", ones)
    groups = call.integer("groups", 1)
    extents = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))
    x = pad_spatial(x, padding(call, x.shape[2:], extents, strides))
    out = tuple(
        (size - extent) // stride + 1 for size, extent, stride in zip(x.shape[2:], extents, strides, strict=True)
    )
    if groups > 1 and groups == x.shape[1] == weight.shape[0]:
        result = depthwise(x, weight, strides, dilations, out)
    else:
        result = grouped(x, weight, strides, dilations, groups, out)
    bias = call.optional("bias")
    if bias is not None:
        result += bias.reshape((1, -1, *ones))
    return result


def depthwise(
    x: Array, weight: Array, strides: tuple[int, ...], dilations: tuple[int, ...], out: tuple[int, ...]
) -> Array:
    """Convolve each channel with its own kernel: a sum of shifted views, by blocks of channels."""
    result = np.zeros((*x.shape[:2], *out), np.float32)
    ones = (1,) * len(out)
    product = np.empty((x.shape[0], min(BLOCK, x.shape[1]), *out), np.float32)
    for start in range(0, x.shape[1], BLOCK):
        block = slice(start, min(start + BLOCK, x.shape[1]))
        part = product[:, : block.stop - block.start]
        for index in np.ndindex(weight.shape[2:]):
            offset = tuple(i * step for i, step in zip(index, dilations, strict=True))
            factor = weight[(block, 0, *index)].reshape((1, -1, *ones))
            np.multiply(tap(x[:, block], offset, strides, out), factor, out=part)
            result[:, block] += part
    return result


def grouped(
    x: Array,
    weight: Array,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
    out: tuple[int, ...],
) -> Array:
    """Convolve by one matrix product per group, with the windows as columns."""
    batch, kernel, channels = x.shape[0], weight.shape[2:], weight.shape[1]
    columns = unfold(x, kernel, strides, dilations, out).reshape(batch, groups, channels * prod(kernel), prod(out))
    matrix = weight.reshape(groups, weight.shape[0] // groups, channels * prod(kernel))
    return np.asarray(np.matmul(matrix[None], columns).reshape(batch, weight.shape[0], *out))


def unfold(
    x: Array, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], out: tuple[int, ...]
) -> Array:
    """[N, C, *D] -> [N, C, *K, *out]. Where every kernel size is 1 the axes *K are left out."""
    if prod(kernel) == 1:
        return np.ascontiguousarray(tap(x, (0,) * len(kernel), strides, out))
    columns = np.empty((*x.shape[:2], *kernel, *out), x.dtype)
    for index in np.ndindex(kernel):
        offset = tuple(i * step for i, step in zip(index, dilations, strict=True))
        columns[(slice(None), slice(None), *index)] = tap(x, offset, strides, out)
    return columns


def conv_transpose(call: Call) -> Array:
    """Convolve x [N, C, *D], transposed, with weight [C, O / groups, *K] to [N, O, *D_out]: the adjoint of `conv`."""
    x, weight = call.tensor("x"), call.tensor("weight")
    kernel = weight.shape[2:]
    ones = (1,) * len(kernel)
    strides, dilations = call.integers("strides", ones), call.integers("dilations", ones)
    groups = call.integer("groups", 1)
    full = tuple(
        (size - 1) * stride + (taps - 1) * step + 1
        for size, stride, taps, step in zip(x.shape[2:], strides, kernel, dilations, strict=True)
    )
    starts, sizes = kept_window(call, full, x.shape[2:], strides)
    room = tuple(max(extent, start + size) for extent, start, size in zip(full, starts, sizes, strict=True))
    batch, channels, outputs = x.shape[0], x.shape[1] // groups, weight.shape[1]
    matrix = weight.reshape(groups, channels, outputs * prod(kernel)).transpose(0, 2, 1)
    columns = np.matmul(matrix[None], x.reshape(batch, groups, channels, -1))
    columns = columns.reshape(batch, groups * outputs, *kernel, *x.shape[2:])
    result = np.zeros((batch, groups * outputs, *room), np.float32)
    for index in np.ndindex(kernel):
        offset = tuple(i * step for i, step in zip(index, dilations, strict=True))
        tap(result, offset, strides, x.shape[2:])[...] += columns[(slice(None), slice(None), *index)]
    inner = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    result = np.ascontiguousarray(result[(slice(None), slice(None), *inner)])
    bias = call.optional("bias")
    return result if bias is None else result + bias.reshape((1, -1, *ones))


def kept_window(
    call: Call, full: tuple[int, ...], spatial: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the part of the full result that is kept: the first index and the size per spatial axis.

    `output_shape` may be larger than what the padding leaves. The rest is beyond every kernel, and stays zero.
    """
    declared = call.integers("output_shape")[2:]
    pad_type = call.string("pad_type", "valid").lower()
    if pad_type == "custom":
        flat = call.integers("pad", (0,) * (2 * len(full)))
        starts = flat[::2]
        sizes = tuple(extent - a - b for extent, a, b in zip(full, flat[::2], flat[1::2], strict=True))
    elif pad_type == "valid":
        starts, sizes = (0,) * len(full), full
    elif pad_type == "same":
        sizes = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
        starts = tuple(max(extent - size, 0) // 2 for extent, size in zip(full, sizes, strict=True))
    else:
        raise ValueError(f"pad_type {pad_type!r} is not known (known: valid, custom, same)")
    return starts, declared or sizes


OPS: Mapping[str, Op] = {"conv": conv, "conv_transpose": conv_transpose}
