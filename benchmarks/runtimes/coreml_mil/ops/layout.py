"""Ops that move values without computing: shape, order, padding, joining, splitting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


def concat(call: Call) -> Array:
    """Along an axis; `interleave` takes turns, one slice of every tensor after the other."""
    values, axis = call.tensors("values"), call.whole("axis")
    if call.flag("interleave"):
        stacked = np.stack(values, axis=axis % values[0].ndim + 1)
        shape = list(values[0].shape)
        shape[axis] *= len(values)
        return stacked.reshape(shape)
    return np.concatenate(values, axis=axis)


def stack(call: Call) -> Array:
    return np.stack(call.tensors("values"), axis=call.whole("axis"))


def split(call: Call) -> tuple[Array, ...]:
    x, axis = call.tensor("x"), call.whole("axis")
    sizes = call.numbers("split_sizes")
    if not sizes:
        count = call.whole("num_splits")
        sizes = (x.shape[axis] // count,) * count
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def reshape(call: Call) -> Array:
    """-1 takes what is left; 0 keeps the dimension at its place."""
    x = call.tensor("x")
    shape = tuple(x.shape[i] if size == 0 and x.size else size for i, size in enumerate(call.numbers("shape")))
    return x.reshape(shape)


def expand_dims(call: Call) -> Array:
    return np.expand_dims(call.tensor("x"), call.numbers("axes"))


def squeeze(call: Call) -> Array:
    return np.squeeze(call.tensor("x"), call.numbers("axes") if "axes" in call.arguments else None)


def transpose(call: Call) -> Array:
    return np.ascontiguousarray(np.transpose(call.tensor("x"), call.numbers("perm")))


def tile(call: Call) -> Array:
    return np.tile(call.tensor("x"), call.numbers("reps"))


def flatten2d(call: Call) -> Array:
    x, axis = call.tensor("x"), call.whole("axis", 1)
    return x.reshape((int(np.prod(x.shape[:axis])), -1))


def pad(call: Call) -> Array:
    """`pad` holds (before, after) of the last axes."""
    x, flat = call.tensor("x"), call.numbers("pad")
    mode = call.text("mode", "constant")
    if mode not in PAD_MODES:
        raise ValueError(f"pad mode {mode!r} is not known (known: {', '.join(PAD_MODES)})")
    pairs = [(0, 0)] * (x.ndim - len(flat) // 2) + list(zip(flat[::2], flat[1::2], strict=True))
    if mode == "constant":
        fill = call.tensor("constant_val") if "constant_val" in call.arguments else np.float32(0)
        return np.pad(x, pairs, mode="constant", constant_values=fill)
    made: Array = np.pad(x, pairs, mode=PAD_MODES[mode])  # type: ignore[call-overload]  # a mode by name
    return made


def slice_by_index(call: Call) -> Array:
    """numpy's slicing: begin, end and stride an axis; masks drop a bound, or the axis itself."""
    x = call.tensor("x")
    begin, end = call.numbers("begin"), call.numbers("end")
    stride = call.numbers("stride", (1,) * x.ndim)
    whole = (0,) * x.ndim
    free_begin, free_end = call.numbers("begin_mask", whole), call.numbers("end_mask", whole)
    single = call.numbers("squeeze_mask", whole)
    index: list[slice | int] = []
    for axis in range(x.ndim):
        if single[axis]:
            index.append(begin[axis])
            continue
        start = None if free_begin[axis] else begin[axis]
        stop = None if free_end[axis] else end[axis]
        if stop is not None and stride[axis] < 0 and stop < -x.shape[axis]:
            stop = None
        index.append(slice(start, stop, stride[axis]))
    return np.asarray(x[tuple(index)])


def slice_by_size(call: Call) -> Array:
    """`size` values from `begin`; -1 takes all that are left."""
    x = call.tensor("x")
    bounds = zip(call.numbers("begin"), call.numbers("size"), x.shape, strict=True)
    return np.asarray(x[tuple(slice(b % n, None if size == -1 else b % n + size) for b, size, n in bounds)])


def slice_update(call: Call) -> Array:
    x = call.tensor("x").copy()
    # The sliced view shares x's memory: writing it writes x.
    view = slice_by_index(Call(call.type, call.name, {**call.arguments, "x": x}, call.outputs))
    view[...] = call.tensor("update").reshape(view.shape)
    return x


def pixel_shuffle(call: Call) -> Array:
    """[N, C * r * r, H, W] -> [N, C, H * r, W * r]; the two r are in front of C's neighbours, row first."""
    x, factor = call.tensor("x"), call.whole("upscale_factor")
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels // factor**2, factor, factor, height, width).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels // factor**2, height * factor, width * factor)


def pixel_unshuffle(call: Call) -> Array:
    x, factor = call.tensor("x"), call.whole("downscale_factor")
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // factor, factor, width // factor, factor).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, channels * factor**2, height // factor, width // factor)


def depth_to_space(call: Call) -> Array:
    """As TensorFlow's: the block is in front of the channels, [N, r * r * C, H, W] -> [N, C, H * r, W * r]."""
    x, factor = call.tensor("x"), call.whole("block_size")
    n, channels, height, width = x.shape
    parts = x.reshape(n, factor, factor, channels // factor**2, height, width).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, channels // factor**2, height * factor, width * factor)


def space_to_depth(call: Call) -> Array:
    x, factor = call.tensor("x"), call.whole("block_size")
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // factor, factor, width // factor, factor).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, channels * factor**2, height // factor, width // factor)


def reverse(call: Call) -> Array:
    return np.flip(call.tensor("x"), call.numbers("axes") if "axes" in call.arguments else None)


def crop(call: Call) -> Array:
    x = call.tensor("x")
    (top, bottom), (left, right) = call.numbers("crop_height"), call.numbers("crop_width")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def band_part(call: Call) -> Array:
    """Keep a band around the diagonal of the last two axes; -1 keeps all on that side."""
    x, lower, upper = call.tensor("x"), call.whole("lower", -1), call.whole("upper", -1)
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
