"""Reading an image at computed places (`resample`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Op

COORDINATES = ("unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one")
PADDINGS = ("constant", "border", "reflection", "symmetric")


def positions(coordinates: Array, size: int, mode: str, corners: bool) -> Array:
    """Coordinates as positions in an axis of `size` values, whose centres are at 0 to size - 1."""
    if mode not in COORDINATES:
        raise ValueError(f"coordinates_mode {mode!r} is not known (known: {', '.join(COORDINATES)})")
    if mode == "unnormalized":
        return coordinates
    share = (coordinates + 1) / 2 if mode == "normalized_minus_one_to_one" else coordinates
    return share * (size - 1) if corners else share * size - 0.5


def folded(at: Array, size: int, padding: str) -> Array:
    """Positions outside the axis brought back inside, as the padding says; "constant" leaves them."""
    if padding not in PADDINGS:
        raise ValueError(f"padding_mode {padding!r} is not known (known: {', '.join(PADDINGS)})")
    if padding == "border":
        return np.clip(at, 0, size - 1)
    if padding == "reflection":
        span = max(size - 1, 1)
        return np.asarray(np.clip(span - np.abs(at % (2 * span) - span), 0, size - 1))
    if padding == "symmetric":
        return np.asarray(np.clip(size - np.abs((at + 0.5) % (2 * size) - size) - 0.5, 0, size - 1))
    return at


def resample(call: Call) -> Array:
    """x [B, C, H, W] read at coordinates [B, H2, W2, 2], which hold (column, row)."""
    x, coordinates = call.tensor("x"), call.tensor("coordinates")
    mode, padding = call.text("coordinates_mode", ""), call.text("padding_mode", "constant")
    corners, filler = call.flag("align_corners"), np.float32(call.real("padding_value", 0.0))
    height, width = x.shape[2:]
    columns = folded(positions(coordinates[..., 0], width, mode, corners), width, padding)
    rows = folded(positions(coordinates[..., 1], height, mode, corners), height, padding)

    def read(row: Array, column: Array) -> Array:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        near, across = np.clip(row, 0, height - 1).astype(int), np.clip(column, 0, width - 1).astype(int)
        values = np.stack([image[:, near[index], across[index]] for index, image in enumerate(x)])
        return np.where(inside[:, None], values, filler)

    sampling = call.text("sampling_mode", "bilinear")
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
