"""Sliding windows over the spatial axes, for convolution and pooling."""

from __future__ import annotations

from math import ceil

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call

# (before, after) per spatial axis.
Pads = tuple[tuple[int, int], ...]


def padding(call: Call, spatial: tuple[int, ...], extents: tuple[int, ...], strides: tuple[int, ...]) -> Pads:
    """Return the padding of each spatial axis. `extents` are the sizes of the dilated kernel.

    "same" puts the odd element after, "same_lower" before.
    """
    pad_type = call.string("pad_type", "valid").lower()
    if pad_type == "valid":
        return tuple((0, 0) for _ in spatial)
    if pad_type == "custom":
        flat = call.integers("pad", (0,) * (2 * len(spatial)))
        return tuple(zip(flat[::2], flat[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"pad_type {pad_type!r} is not known (known: valid, custom, same, same_lower)")
    pads = []
    for size, extent, stride in zip(spatial, extents, strides, strict=True):
        total = max((ceil(size / stride) - 1) * stride + extent - size, 0)
        half = total // 2
        pads.append((half, total - half) if pad_type == "same" else (total - half, half))
    return tuple(pads)


def pad_spatial(x: Array, pads: Pads, value: float = 0.0) -> Array:
    """Pad the spatial axes of x [N, C, *D] by `value`. Returns x itself where no axis is padded."""
    if not any(before or after for before, after in pads):
        return x
    shape = (*x.shape[:2], *(size + sum(pad) for size, pad in zip(x.shape[2:], pads, strict=True)))
    padded = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    inner = tuple(slice(before, before + size) for size, (before, _) in zip(x.shape[2:], pads, strict=True))
    padded[(slice(None), slice(None), *inner)] = x
    return padded


def tap(x: Array, offset: tuple[int, ...], strides: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """Return the view of `x` that one kernel element reads: `out` elements per axis, from `offset` by `strides`."""
    spatial = tuple(
        slice(start, start + (count - 1) * stride + 1, stride)
        for start, stride, count in zip(offset, strides, out, strict=True)
    )
    return x[(slice(None), slice(None), *spatial)]
