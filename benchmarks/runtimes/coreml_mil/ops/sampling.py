"""`resample`: read an image at computed coordinates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

COORDINATES = ("unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one")
PADDINGS = ("constant", "border", "reflection", "symmetric")


def positions(coordinates: Array, size: int, mode: str, align_corners: bool) -> Array:
    """Return coordinates as positions along an axis whose elements have their centres at 0 to size - 1."""
    if mode not in COORDINATES:
        raise ValueError(f"coordinates_mode {mode!r} is not known (known: {', '.join(COORDINATES)})")
    if mode == "unnormalized":
        return coordinates
    share = (coordinates + 1) / 2 if mode == "normalized_minus_one_to_one" else coordinates
    return share * (size - 1) if align_corners else share * size - 0.5


def fold_into_axis(position: Array, size: int, padding: str) -> Array:
    """Map positions outside the axis to inside, by the padding mode. Padding "constant" leaves them outside."""
    if padding not in PADDINGS:
        raise ValueError(f"padding_mode {padding!r} is not known (known: {', '.join(PADDINGS)})")
    if padding == "border":
        return np.clip(position, 0, size - 1)
    if padding == "reflection":
        span = max(size - 1, 1)
        return np.asarray(np.clip(span - np.abs(position % (2 * span) - span), 0, size - 1))
    if padding == "symmetric":
        return np.asarray(np.clip(size - np.abs((position + 0.5) % (2 * size) - size) - 0.5, 0, size - 1))
    return position


def resample(call: Call) -> Array:
    """Read x [B, C, H, W] at coordinates [B, H_out, W_out, 2], which hold (column, row)."""
    x, coordinates = call.tensor("x"), call.tensor("coordinates")
    mode, padding = call.string("coordinates_mode", ""), call.string("padding_mode", "constant")
    align_corners, fill = call.boolean("align_corners"), np.float32(call.scalar("padding_value", 0.0))
    height, width = x.shape[2:]
    columns = fold_into_axis(positions(coordinates[..., 0], width, mode, align_corners), width, padding)
    rows = fold_into_axis(positions(coordinates[..., 1], height, mode, align_corners), height, padding)

    def read(row: Array, column: Array) -> Array:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        i, j = np.clip(row, 0, height - 1).astype(int), np.clip(column, 0, width - 1).astype(int)
        elements = np.stack([image[:, i[index], j[index]] for index, image in enumerate(x)])
        return np.where(inside[:, None], elements, fill)

    sampling = call.string("sampling_mode", "bilinear")
    if sampling == "nearest":
        return read(np.rint(rows), np.rint(columns))
    if sampling != "bilinear":
        raise ValueError(f"sampling_mode {sampling!r} is not known (known: bilinear, nearest)")
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    upper = read(top, left) * (1 - right) + read(top, left + 1) * right
    lower = read(top + 1, left) * (1 - right) + read(top + 1, left + 1) * right
    return np.asarray(upper * (1 - down) + lower * down)


OPS: Mapping[str, Op] = {"resample": resample}
