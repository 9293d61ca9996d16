"""Average, maximum and L2 pooling in one, two or three spatial dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op
from benchmarks.runtimes.coreml_mil.ops.windows import Pads, pad_spatial, padding, tap


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a pool, per spatial axis. `out` is the number of windows."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    out: tuple[int, ...]

    def overhang(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return for each axis by how many elements the last window exceeds its end; negative if it ends inside."""
        return tuple(
            (count - 1) * stride + taps - size
            for count, stride, taps, size in zip(self.out, self.strides, self.kernel, sizes, strict=True)
        )

    def views(self, padded: Array) -> list[Array]:
        """Return one view per kernel element: the elements that it reads, `out` per axis."""
        return [tap(padded, index, self.strides, self.out) for index in np.ndindex(*self.kernel)]


def windows_of(call: Call, spatial: tuple[int, ...]) -> Windows:
    """Return the windows over axes of sizes `spatial`.

    In ceil mode the last window must start inside the input or the padding before it. What it reads beyond the padding
    after it counts as nothing.
    """
    kernel = call.integers("kernel_sizes")
    strides = call.integers("strides", (1,) * len(kernel))
    pads = padding(call, spatial, kernel, strides)
    out = []
    for size, taps, stride, (before, after) in zip(spatial, kernel, strides, pads, strict=True):
        room = size + before + after - taps
        count = room // stride + 1
        if call.boolean("ceil_mode"):
            count = -(-room // stride) + 1
            if (count - 1) * stride >= size + before:
                count -= 1
        out.append(count)
    return Windows(kernel, strides, pads, tuple(out))


def padded_views(call: Call, x: Array, fill: float) -> list[Array]:
    """Return one view per kernel element of x [N, C, *D]; elements outside of x are `fill`."""
    windows = windows_of(call, x.shape[2:])
    before = tuple(first for first, _ in windows.pads)
    beyond = windows.overhang(tuple(size + first for size, first in zip(x.shape[2:], before, strict=True)))
    pads = tuple((first, max(last, over)) for (first, last), over in zip(windows.pads, beyond, strict=True))
    return windows.views(pad_spatial(x, pads, fill))


def max_pool(call: Call) -> Array:
    return reduce(np.maximum, padded_views(call, call.tensor("x"), -np.inf)).copy()


def avg_pool(call: Call) -> Array:
    """Average each window. Padding counts as zeros unless `exclude_padding_from_average`; beyond it nothing counts."""
    x = call.tensor("x")
    if call.boolean("exclude_padding_from_average"):
        counts = sum(padded_views(call, np.ones((1, 1, *x.shape[2:]), np.float32), 0.0))
    else:
        windows = windows_of(call, x.shape[2:])
        sizes = tuple(size + sum(pad) for size, pad in zip(x.shape[2:], windows.pads, strict=True))
        beyond = tuple((0, max(0, over)) for over in windows.overhang(sizes))
        counts = sum(windows.views(pad_spatial(np.ones((1, 1, *sizes), np.float32), beyond)))
    return np.asarray(sum(padded_views(call, x, 0.0)) / counts)


def l2_pool(call: Call) -> Array:
    return np.asarray(np.sqrt(sum(padded_views(call, np.square(call.tensor("x")), 0.0))))


OPS: Mapping[str, Op] = {"avg_pool": avg_pool, "l2_pool": l2_pool, "max_pool": max_pool}
