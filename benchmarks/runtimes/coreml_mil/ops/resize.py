"""Resize the last two axes. MIL documents the sampling grids with its op `resize_bilinear`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")


def sampling_grid(size: int, out: int, mode: str) -> Array:
    """Return the positions along an axis of `size` elements that the `out` results are sampled at, in float64."""
    index = np.arange(out, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        grid = index * ((size - 1) / (out - 1)) if out > 1 else index
        if mode == "ALIGN_CORNERS" and out == 1:
            grid = np.array([(size - 1) / 2])
    elif mode == "DEFAULT":
        grid = index * ((size - size / out) / (out - 1)) if out > 1 else index
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / out
        grid = 0.5 * delta + index * delta
    elif mode == "UNALIGN_CORNERS":
        grid = (index + 0.5) * (size / out) - 0.5
    else:
        raise ValueError(f"sampling_mode {mode!r} is not known (known: {', '.join(MODES)})")
    return np.clip(grid, 0, size - 1)


def linear(x: Array, axis: int, grid: Array) -> Array:
    """Interpolate linearly along `axis` at the positions of `grid`."""
    low = np.floor(grid).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (grid - low).astype(np.float32).reshape(shape)
    below = np.take(x, low, axis)
    return np.asarray(below + (np.take(x, high, axis) - below) * share)


def bilinear(x: Array, height: int, width: int, mode: str) -> Array:
    # Width first is the cheaper order. In exact arithmetic both are equal.
    wide = linear(x, x.ndim - 1, sampling_grid(x.shape[-1], width, mode)) if width != x.shape[-1] else x
    return linear(wide, x.ndim - 2, sampling_grid(x.shape[-2], height, mode)) if height != x.shape[-2] else wide


def nearest(x: Array, height: int, width: int) -> Array:
    """Sample result i at floor(i * size / out), in integer arithmetic."""
    rows = np.arange(height) * x.shape[-2] // height
    columns = np.arange(width) * x.shape[-1] // width
    return np.asarray(np.take(np.take(x, rows, x.ndim - 2), columns, x.ndim - 1))


def upsampled_size(call: Call) -> tuple[int, int]:
    """Return the (height, width) of an upsample op's output.

    It is the declared one where that is known, because scale factors are rounded in the file.
    """
    declared = call.outputs[0][1].shape[-2:]
    if -1 not in declared:
        return declared[0], declared[1]
    x = call.tensor("x")
    factors = (call.scalar("scale_factor_height", 1.0), call.scalar("scale_factor_width", 1.0))
    height, width = (int(np.floor(size * factor)) for size, factor in zip(x.shape[-2:], factors, strict=True))
    return height, width


def upsample_nearest(call: Call) -> Array:
    return nearest(call.tensor("x"), *upsampled_size(call))


def upsample_bilinear(call: Call) -> Array:
    """Align corners or half-pixel centres. The scale is recomputed from the sizes, as MIL documents."""
    align = call.boolean("align_corners", True)
    if not align and not call.boolean("half_pixel_centers", True):
        raise ValueError("align_corners and half_pixel_centers both false: MIL does not document what is sampled")
    return bilinear(call.tensor("x"), *upsampled_size(call), "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS")


def target_size(call: Call) -> tuple[int, int]:
    return call.integer("target_size_height", 1), call.integer("target_size_width", 1)


def resize_bilinear(call: Call) -> Array:
    return bilinear(call.tensor("x"), *target_size(call), call.string("sampling_mode", "DEFAULT"))


def resize_nearest(call: Call) -> Array:
    return nearest(call.tensor("x"), *target_size(call))


def resize(call: Call) -> Array:
    """Resize the last `resized_dims` axes of x to the last sizes of `shape`. Size 0 keeps an axis as it is."""
    x, count = call.tensor("x"), call.integer("resized_dims")
    declared = call.integers("shape")[-count:] if count else ()
    sizes = [size or x.shape[x.ndim - count + index] for index, size in enumerate(declared)]
    mode = call.string("sampling_mode", "DEFAULT")
    method = call.string("interpolation_mode", "LINEAR")
    if method == "NEAREST_NEIGHBOR" and mode != "DEFAULT":
        raise ValueError(f"nearest-neighbour resize in sampling mode {mode!r}: MIL does not document how it rounds")
    for offset, size in enumerate(sizes):
        axis = x.ndim - count + offset
        if size == x.shape[axis]:
            continue
        grid = sampling_grid(x.shape[axis], size, mode)
        x = linear(x, axis, grid) if method == "LINEAR" else np.take(x, np.floor(grid).astype(np.int64), axis)
    return x


OPS: Mapping[str, Op] = {
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest,
}
