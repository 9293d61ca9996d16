"""Resizing the last two axes. Which points of the input are sampled is documented with MIL's `resize_bilinear`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")


def points(size: int, wanted: int, mode: str) -> Array:
    """Positions in an axis of `size` values that `wanted` results are read at, in double precision."""
    index = np.arange(wanted, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        at = index * ((size - 1) / (wanted - 1)) if wanted > 1 else index
        if mode == "ALIGN_CORNERS" and wanted == 1:
            at = np.array([(size - 1) / 2])
    elif mode == "DEFAULT":
        at = index * ((size - size / wanted) / (wanted - 1)) if wanted > 1 else index
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / wanted
        at = 0.5 * delta + index * delta
    elif mode == "UNALIGN_CORNERS":
        at = (index + 0.5) * (size / wanted) - 0.5
    else:
        raise ValueError(f"sampling_mode {mode!r} is not known (known: {', '.join(MODES)})")
    return np.clip(at, 0, size - 1)


def linear(x: Array, axis: int, at: Array) -> Array:
    """Linear interpolation along `axis` at the positions `at`."""
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (at - low).astype(np.float32).reshape(shape)
    below = np.take(x, low, axis)
    return np.asarray(below + (np.take(x, high, axis) - below) * share)


def bilinear(x: Array, height: int, width: int, mode: str) -> Array:
    # Width first: it is the cheaper order, and equal to the other one in exact arithmetic.
    wide = linear(x, x.ndim - 1, points(x.shape[-1], width, mode)) if width != x.shape[-1] else x
    return linear(wide, x.ndim - 2, points(x.shape[-2], height, mode)) if height != x.shape[-2] else wide


def nearest(x: Array, height: int, width: int) -> Array:
    """Result i reads floor(i * size / wanted), in whole numbers."""
    rows = np.arange(height) * x.shape[-2] // height
    columns = np.arange(width) * x.shape[-1] // width
    return np.asarray(np.take(np.take(x, rows, x.ndim - 2), columns, x.ndim - 1))


def scaled(call: Call) -> tuple[int, int]:
    """The size an upsample op makes: the declared one where it is known (scale factors are rounded in the file)."""
    declared = call.outputs[0][1].shape[-2:]
    if -1 not in declared:
        return declared[0], declared[1]
    x = call.tensor("x")
    factors = (call.real("scale_factor_height", 1.0), call.real("scale_factor_width", 1.0))
    height, width = (int(np.floor(size * factor)) for size, factor in zip(x.shape[-2:], factors, strict=True))
    return height, width


def upsample_nearest(call: Call) -> Array:
    return nearest(call.tensor("x"), *scaled(call))


def upsample_bilinear(call: Call) -> Array:
    """Corners aligned, or half-pixel centres; the scale is recomputed from the sizes, as MIL documents."""
    align = call.flag("align_corners", True)
    if not align and not call.flag("half_pixel_centers", True):
        raise ValueError("align_corners and half_pixel_centers both false: MIL does not document what is sampled")
    return bilinear(call.tensor("x"), *scaled(call), "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS")


def target(call: Call) -> tuple[int, int]:
    return call.whole("target_size_height", 1), call.whole("target_size_width", 1)


def resize_bilinear(call: Call) -> Array:
    return bilinear(call.tensor("x"), *target(call), call.text("sampling_mode", "DEFAULT"))


def resize_nearest(call: Call) -> Array:
    return nearest(call.tensor("x"), *target(call))


def resize(call: Call) -> Array:
    """The last `resized_dims` of `shape` replace those of x; 0 keeps a dimension."""
    x, count = call.tensor("x"), call.whole("resized_dims")
    asked = call.numbers("shape")[-count:] if count else ()
    wanted = [size or x.shape[x.ndim - count + index] for index, size in enumerate(asked)]
    mode = call.text("sampling_mode", "DEFAULT")
    method = call.text("interpolation_mode", "LINEAR")
    if method == "NEAREST_NEIGHBOR" and mode != "DEFAULT":
        raise ValueError(f"nearest-neighbour resize in sampling mode {mode!r}: MIL does not document how it rounds")
    for offset, size in enumerate(wanted):
        axis = x.ndim - count + offset
        if size == x.shape[axis]:
            continue
        at = points(x.shape[axis], size, mode)
        x = linear(x, axis, at) if method == "LINEAR" else np.take(x, np.floor(at).astype(np.int64), axis)
    return x


OPS: Mapping[str, Op] = {
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest,
}
