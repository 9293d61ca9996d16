"""Sliding windows over the spatial axes, for convolution and pooling."""

from __future__ import annotations

from math import ceil

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call

Pairs = tuple[tuple[int, int], ...]


def padding(call: Call, spatial: tuple[int, ...], reach: tuple[int, ...], strides: tuple[int, ...]) -> Pairs:
    """(before, after) of every spatial axis. `reach` is the extent of the dilated kernel.

    "same" puts the odd element after, "same_lower" before.
    """
    kind = call.text("pad_type", "valid").lower()
    if kind == "valid":
        return tuple((0, 0) for _ in spatial)
    if kind == "custom":
        flat = call.numbers("pad", (0,) * (2 * len(spatial)))
        return tuple(zip(flat[::2], flat[1::2], strict=True))
    if kind not in ("same", "same_lower"):
        raise ValueError(f"pad_type {kind!r} is not known (known: valid, custom, same, same_lower)")
    pairs = []
    for size, extent, stride in zip(spatial, reach, strides, strict=True):
        total = max((ceil(size / stride) - 1) * stride + extent - size, 0)
        less = total // 2
        pairs.append((less, total - less) if kind == "same" else (total - less, less))
    return tuple(pairs)


def pad_spatial(x: Array, pairs: Pairs, value: float = 0.0) -> Array:
    if not any(before or after for before, after in pairs):
        return x
    shape = (*x.shape[:2], *(size + sum(pair) for size, pair in zip(x.shape[2:], pairs, strict=True)))
    padded = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    inner = tuple(slice(before, before + size) for size, (before, _) in zip(x.shape[2:], pairs, strict=True))
    padded[(slice(None), slice(None), *inner)] = x
    return padded


def tap(x: Array, offset: tuple[int, ...], strides: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """The view of `x` that one kernel element meets: every `stride`-th value from `offset`, `out` of them."""
    spatial = tuple(
        slice(start, start + (count - 1) * stride + 1, stride)
        for start, stride, count in zip(offset, strides, out, strict=True)
    )
    return x[(slice(None), slice(None), *spatial)]
