"""conv and conv_transpose, in one, two or three spatial dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.ops.windows import pad_spatial, padding, tap

# Channels handled at a time in a depthwise convolution: keeps a block and its accumulator in the cache.
BLOCK = 16


def conv(call: Call) -> Array:
    """x [N, C, *D], weight [O, C / groups, *K] -> [N, O, *D_out]."""
    x, weight = call.tensor("x"), call.tensor("weight")
    kernel = weight.shape[2:]
    ones = (1,) * len(kernel)
    strides, dilations = call.numbers("strides", ones), call.numbers("dilations", ones)
    groups = call.whole("groups", 1)
    reach = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))
    x = pad_spatial(x, padding(call, x.shape[2:], reach, strides))
    out = tuple((size - extent) // stride + 1 for size, extent, stride in zip(x.shape[2:], reach, strides, strict=True))
    if groups > 1 and groups == x.shape[1] == weight.shape[0]:
        made = depthwise(x, weight, strides, dilations, out)
    else:
        made = grouped(x, weight, (strides, dilations), groups, out)
    bias = call.maybe("bias")
    if bias is not None:
        made += bias.reshape((1, -1, *ones))
    return made


def depthwise(
    x: Array, weight: Array, strides: tuple[int, ...], dilations: tuple[int, ...], out: tuple[int, ...]
) -> Array:
    """One kernel a channel: a sum of shifted views, a block of channels at a time."""
    made = np.zeros((*x.shape[:2], *out), np.float32)
    ones = (1,) * len(out)
    product = np.empty((x.shape[0], min(BLOCK, x.shape[1]), *out), np.float32)
    for start in range(0, x.shape[1], BLOCK):
        block = slice(start, min(start + BLOCK, x.shape[1]))
        part = product[:, : block.stop - block.start]
        for index in np.ndindex(weight.shape[2:]):
            offset = tuple(i * step for i, step in zip(index, dilations, strict=True))
            factor = weight[(block, 0, *index)].reshape((1, -1, *ones))
            np.multiply(tap(x[:, block], offset, strides, out), factor, out=part)
            made[:, block] += part
    return made


def grouped(
    x: Array, weight: Array, steps: tuple[tuple[int, ...], tuple[int, ...]], groups: int, out: tuple[int, ...]
) -> Array:
    """Windows laid out as columns, one matrix product a group. `steps` is (strides, dilations)."""
    batch, kernel, each = x.shape[0], weight.shape[2:], weight.shape[1]
    columns = unfold(x, kernel, steps, out).reshape(batch, groups, each * prod(kernel), prod(out))
    matrix = weight.reshape(groups, weight.shape[0] // groups, each * prod(kernel))
    return np.asarray(np.matmul(matrix[None], columns).reshape(batch, weight.shape[0], *out))


def unfold(
    x: Array, kernel: tuple[int, ...], steps: tuple[tuple[int, ...], tuple[int, ...]], out: tuple[int, ...]
) -> Array:
    """[N, C, *D] -> [N, C, *K, *out]; a view where the kernel is 1 and nothing is skipped."""
    strides, dilations = steps
    if prod(kernel) == 1:
        return np.ascontiguousarray(tap(x, (0,) * len(kernel), strides, out))
    columns = np.empty((*x.shape[:2], *kernel, *out), x.dtype)
    for index in np.ndindex(kernel):
        offset = tuple(i * step for i, step in zip(index, dilations, strict=True))
        columns[(slice(None), slice(None), *index)] = tap(x, offset, strides, out)
    return columns


def conv_transpose(call: Call) -> Array:
    """x [N, C, *D], weight [C, O / groups, *K] -> [N, O, *D_out]; the adjoint of `conv`."""
    x, weight = call.tensor("x"), call.tensor("weight")
    kernel = weight.shape[2:]
    ones = (1,) * len(kernel)
    strides, dilations = call.numbers("strides", ones), call.numbers("dilations", ones)
    groups = call.whole("groups", 1)
    full = tuple(
        (size - 1) * stride + (taps - 1) * step + 1
        for size, stride, taps, step in zip(x.shape[2:], strides, kernel, dilations, strict=True)
    )
    crop, size = window(call, full, x.shape[2:], strides)
    room = tuple(max(extent, start + count) for extent, start, count in zip(full, crop, size, strict=True))
    batch, each, made_each = x.shape[0], x.shape[1] // groups, weight.shape[1]
    matrix = weight.reshape(groups, each, made_each * prod(kernel)).transpose(0, 2, 1)
    columns = np.matmul(matrix[None], x.reshape(batch, groups, each, -1))
    columns = columns.reshape(batch, groups * made_each, *kernel, *x.shape[2:])
    made = np.zeros((batch, groups * made_each, *room), np.float32)
    for index in np.ndindex(kernel):
        offset = tuple(i * step for i, step in zip(index, dilations, strict=True))
        tap(made, offset, strides, x.shape[2:])[...] += columns[(slice(None), slice(None), *index)]
    inner = tuple(slice(start, start + count) for start, count in zip(crop, size, strict=True))
    made = np.ascontiguousarray(made[(slice(None), slice(None), *inner)])
    bias = call.maybe("bias")
    return made if bias is None else made + bias.reshape((1, -1, *ones))


def window(
    call: Call, full: tuple[int, ...], spatial: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which part of the full result is kept: (first index, size) a spatial axis.

    `output_shape` may ask for more than the padding leaves: the rest is beyond every kernel, and stays zero.
    """
    asked = call.numbers("output_shape")[2:]
    kind = call.text("pad_type", "valid").lower()
    if kind == "custom":
        flat = call.numbers("pad", (0,) * (2 * len(full)))
        starts = flat[::2]
        sizes = tuple(extent - a - b for extent, a, b in zip(full, flat[::2], flat[1::2], strict=True))
    elif kind == "valid":
        starts, sizes = (0,) * len(full), full
    elif kind == "same":
        sizes = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
        starts = tuple(max(extent - size, 0) // 2 for extent, size in zip(full, sizes, strict=True))
    else:
        raise ValueError(f"pad_type {kind!r} is not known (known: valid, custom, same)")
    return starts, asked or sizes


OPS: Mapping[str, Op] = {"conv": conv, "conv_transpose": conv_transpose}
