"""Average, maximum and L2 pooling in one, two or three spatial dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.ops.windows import Pairs, pad_spatial, padding, tap


def geometry(call: Call, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], Pairs, tuple[int, ...]]:
    """(kernel, strides, padding, output size). In ceil mode the last window may start inside the padding's far end,
    but not beyond it; what it reads past the padding belongs to nothing."""
    kernel = call.numbers("kernel_sizes")
    strides = call.numbers("strides", (1,) * len(kernel))
    pairs = padding(call, spatial, kernel, strides)
    out = []
    for size, taps, stride, (before, after) in zip(spatial, kernel, strides, pairs, strict=True):
        room = size + before + after - taps
        count = room // stride + 1
        if call.flag("ceil_mode"):
            count = -(-room // stride) + 1
            if (count - 1) * stride >= size + before:
                count -= 1
        out.append(count)
    return kernel, strides, pairs, tuple(out)


def windows(call: Call, x: Array, fill: float) -> tuple[list[Array], Pairs]:
    """For every kernel element the values it meets, `fill` outside of x; and the padding that was asked for."""
    kernel, strides, pairs, out = geometry(call, x.shape[2:])
    wide = tuple(
        (before, max(after, (count - 1) * stride + taps - size - before))
        for size, taps, stride, (before, after), count in zip(x.shape[2:], kernel, strides, pairs, out, strict=True)
    )
    padded = pad_spatial(x, wide, fill)
    return [tap(padded, index, strides, out) for index in np.ndindex(*kernel)], pairs


def max_pool(call: Call) -> Array:
    views, _ = windows(call, call.tensor("x"), -np.inf)
    return reduce(np.maximum, views).copy()


def avg_pool(call: Call) -> Array:
    """Padding counts as zeros unless `exclude_padding_from_average`; beyond it (ceil mode) nothing counts."""
    x = call.tensor("x")
    views, pairs = windows(call, x, 0.0)
    ones = np.ones((1, 1, *x.shape[2:]), np.float32)
    if not call.flag("exclude_padding_from_average"):
        # The padding counts: it is part of what the windows are over.
        ones = pad_spatial(ones, tuple((0, 0) for _ in pairs))
        counted = pad_spatial(ones, pairs, 0.0)
        counted[...] = 1.0
        counts = sum(windows_over(call, counted, x.shape[2:]))
    else:
        counts = sum(windows(call, ones, 0.0)[0])
    return np.asarray(sum(views) / counts)


def windows_over(call: Call, padded: Array, spatial: tuple[int, ...]) -> list[Array]:
    """Windows over an array that already holds its padding; zeros beyond it."""
    kernel, strides, _, out = geometry(call, spatial)
    beyond = tuple(
        (0, max(0, (count - 1) * stride + taps - size))
        for size, taps, stride, count in zip(padded.shape[2:], kernel, strides, out, strict=True)
    )
    wide = pad_spatial(padded, beyond)
    return [tap(wide, index, strides, out) for index in np.ndindex(*kernel)]


def l2_pool(call: Call) -> Array:
    views, _ = windows(call, np.square(call.tensor("x")), 0.0)
    return np.asarray(np.sqrt(sum(views)))


OPS: Mapping[str, Op] = {"avg_pool": avg_pool, "l2_pool": l2_pool, "max_pool": max_pool}
