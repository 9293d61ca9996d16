"""Ops that move elements without computing: reshape, transpose, pad, concat, split, slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


def concat(call: Call) -> Array:
    """Concatenate along an axis. `interleave` alternates: slice 0 of every tensor, then slice 1 of every tensor, ..."""
    values, axis = call.tensors("values"), call.integer("axis")
    if call.boolean("interleave"):
        stacked = np.stack(values, axis=axis % values[0].ndim + 1)
        shape = list(values[0].shape)
        shape[axis] *= len(values)
        return stacked.reshape(shape)
    return np.concatenate(values, axis=axis)


def stack(call: Call) -> Array:
    return np.stack(call.tensors("values"), axis=call.integer("axis"))


def split(call: Call) -> tuple[Array, ...]:
    x, axis = call.tensor("x"), call.integer("axis")
    sizes = call.integers("split_sizes")
    if not sizes:
        count = call.integer("num_splits")
        sizes = (x.shape[axis] // count,) * count
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def reshape(call: Call) -> Array:
    """Reshape x. Size -1 is inferred, 0 keeps the size of the same axis of x."""
    x = call.tensor("x")
    shape = tuple(x.shape[i] if size == 0 and x.size else size for i, size in enumerate(call.integers("shape")))
    return x.reshape(shape)


def expand_dims(call: Call) -> Array:
    return np.expand_dims(call.tensor("x"), call.integers("axes"))


def squeeze(call: Call) -> Array:
    return np.squeeze(call.tensor("x"), call.integers("axes") if "axes" in call.arguments else None)


def transpose(call: Call) -> Array:
    return np.ascontiguousarray(np.transpose(call.tensor("x"), call.integers("perm")))


def tile(call: Call) -> Array:
    return np.tile(call.tensor("x"), call.integers("reps"))


def flatten2d(call: Call) -> Array:
    x, axis = call.tensor("x"), call.integer("axis", 1)
    return x.reshape((int(np.prod(x.shape[:axis])), -1))


def pad(call: Call) -> Array:
    """Pad the last axes of x. `pad` holds (before, after) of each."""
    x, flat = call.tensor("x"), call.integers("pad")
    mode = call.string("mode", "constant")
    if mode not in PAD_MODES:
        raise ValueError(f"pad mode {mode!r} is not known (known: {', '.join(PAD_MODES)})")
    pairs = [(0, 0)] * (x.ndim - len(flat) // 2) + list(zip(flat[::2], flat[1::2], strict=True))
    if mode == "constant":
        fill = call.tensor("constant_val") if "constant_val" in call.arguments else np.float32(0)
        return np.pad(x, pairs, mode="constant", constant_values=fill)
    padded: Array = np.pad(x, pairs, mode=PAD_MODES[mode])  # type: ignore[call-overload]  # a mode by name
    return padded


def slice_by_index(call: Call) -> Array:
    """Slice as numpy does, by begin, end and stride per axis. Masks drop a bound, or the axis itself."""
    x = call.tensor("x")
    begin, end = call.integers("begin"), call.integers("end")
    stride = call.integers("stride", (1,) * x.ndim)
    unset = (0,) * x.ndim
    begin_mask, end_mask = call.integers("begin_mask", unset), call.integers("end_mask", unset)
    squeeze_mask = call.integers("squeeze_mask", unset)
    index: list[slice | int] = []
    for axis in range(x.ndim):
        if squeeze_mask[axis]:
            index.append(begin[axis])
            continue
        start = None if begin_mask[axis] else begin[axis]
        stop = None if end_mask[axis] else end[axis]
        if stop is not None and stride[axis] < 0 and stop < -x.shape[axis]:
            stop = None
        index.append(slice(start, stop, stride[axis]))
    return np.asarray(x[tuple(index)])


def slice_by_size(call: Call) -> Array:
    """Take `size` elements from `begin`. Size -1 takes all that are left."""
    x = call.tensor("x")
    bounds = zip(call.integers("begin"), call.integers("size"), x.shape, strict=True)
    return np.asarray(x[tuple(slice(b % n, None if size == -1 else b % n + size) for b, size, n in bounds)])


def slice_update(call: Call) -> Array:
    """Return a copy of x with `update` written to the slice that `slice_by_index` would take."""
    x = call.tensor("x").copy()
    # The slice is a view: writing to it writes to x.
    view = slice_by_index(Call(call.type, call.name, {**call.arguments, "x": x}, call.outputs))
    view[...] = call.tensor("update").reshape(view.shape)
    return x


def pixel_shuffle(call: Call) -> Array:
    """[N, C * r * r, H, W] -> [N, C, H * r, W * r]. Within a channel the r * r block is row-major."""
    x, factor = call.tensor("x"), call.integer("upscale_factor")
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels // factor**2, factor, factor, height, width).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels // factor**2, height * factor, width * factor)


def pixel_unshuffle(call: Call) -> Array:
    """[N, C, H * r, W * r] -> [N, C * r * r, H, W], the inverse of pixel_shuffle."""
    x, factor = call.tensor("x"), call.integer("downscale_factor")
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // factor, factor, width // factor, factor).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, channels * factor**2, height // factor, width // factor)


def depth_to_space(call: Call) -> Array:
    """[N, r * r * C, H, W] -> [N, C, H * r, W * r], as in TensorFlow: the block is the outer part of axis 1."""
    x, factor = call.tensor("x"), call.integer("block_size")
    n, channels, height, width = x.shape
    parts = x.reshape(n, factor, factor, channels // factor**2, height, width).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, channels // factor**2, height * factor, width * factor)


def space_to_depth(call: Call) -> Array:
    """[N, C, H * r, W * r] -> [N, r * r * C, H, W], the inverse of depth_to_space."""
    x, factor = call.tensor("x"), call.integer("block_size")
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // factor, factor, width // factor, factor).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, channels * factor**2, height // factor, width // factor)


def reverse(call: Call) -> Array:
    return np.flip(call.tensor("x"), call.integers("axes") if "axes" in call.arguments else None)


def crop(call: Call) -> Array:
    x = call.tensor("x")
    (top, bottom), (left, right) = call.integers("crop_height"), call.integers("crop_width")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def band_part(call: Call) -> Array:
    """Keep a band around the diagonal of the last two axes. -1 keeps everything on that side."""
    x, lower, upper = call.tensor("x"), call.integer("lower", -1), call.integer("upper", -1)
    row, column = np.ogrid[: x.shape[-2], : x.shape[-1]]
    kept = ((lower < 0) | (row - column <= lower)) & ((upper < 0) | (column - row <= upper))
    return np.where(kept, x, np.zeros((), x.dtype))


OPS: Mapping[str, Op] = {
    "band_part": band_part,
    "concat": concat,
    "crop": crop,
    "depth_to_space": depth_to_space,
    "expand_dims": expand_dims,
    "flatten2d": flatten2d,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "reshape": reshape,
    "reverse": reverse,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "space_to_depth": space_to_depth,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
}
