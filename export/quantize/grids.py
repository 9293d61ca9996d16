"""Grids: the values that a storage type can hold, and how weights are rounded to the nearest of them.

A layer is a matrix here, [output channels, inputs of one output channel]. Every function is plain numpy and returns the
same bits for the same input, so that a search, an export and the check of a saved file agree on the values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Shares of a channel's largest weight at which its grid may end: clipping a few outliers makes all other steps finer.
CLIPS = np.linspace(1.0, 0.7, 13)
# Rounds of k-means over sorted elements, after an initial guess that is already close.
ROUNDS = 40


def as_matrix(value: Array, axis: int) -> Array:
    """Return `value`, whose output channels lie along `axis`, as a float64 matrix [output channels, rest]."""
    return np.ascontiguousarray(np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1).astype(np.float64))


def from_matrix(matrix: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Invert `as_matrix`; the result is float32."""
    moved = (shape[axis], *(size for index, size in enumerate(shape) if index != axis))
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, axis)).astype(np.float32)


def round_symmetric(matrix: Array, bits: int) -> Array:
    """Round each channel to its own symmetric grid of 2**bits - 1 steps: w8 as every target stores it."""
    top = 2 ** (bits - 1) - 1
    peak = np.abs(matrix).max(axis=1, keepdims=True)
    scale = np.where(peak > 0, peak / top, 1.0).astype(np.float32).astype(np.float64)
    return np.asarray(np.clip(np.round(matrix / scale), -top, top) * scale)


def round_float16(matrix: Array) -> Array:
    """Round to the nearest finite float16; the result is float64."""
    return np.clip(matrix, -65504, 65504).astype(np.float16).astype(np.float64)


def symmetric_grid(matrix: Array, bits: int, importance: Array | None) -> Array:
    """Return the symmetric grid of each channel, clipped where the squared error of rounding is least.

    `importance` weights the error of each input, [inputs]. The grids are [output channels, 2**bits - 1], ascending.
    """
    top = 2 ** (bits - 1) - 1
    peak = np.abs(matrix).max(axis=1)
    peak = np.where(peak > 0, peak, top)
    weight = np.ones(matrix.shape[1]) if importance is None else importance
    errors = []
    for clip in CLIPS:
        scale = (peak * clip / top)[:, None]
        rounded = np.clip(np.round(matrix / scale), -top, top) * scale
        errors.append((weight * (matrix - rounded) ** 2).sum(axis=1))
    best = CLIPS[np.argmin(np.stack(errors), axis=0)]
    # The files hold scales in float32.
    scale = (peak * best / top).astype(np.float32).astype(np.float64)
    return np.asarray(scale[:, None] * np.arange(-top, top + 1))


def palette_grid(matrix: Array, bits: int, group: int, importance: Array | None) -> Array:
    """Return a palette of float16 values per `group` of output channels (0: one for all), found by k-means.

    `importance` weights the elements of each input, [inputs]. The grids are [output channels, 2**bits], ascending;
    channels of one group have equal rows.
    """
    outputs, inputs = matrix.shape
    group = group or outputs
    weight = np.ones(inputs) if importance is None else importance / max(float(importance.mean()), 1e-30)
    grids = []
    for start in range(0, outputs, group):
        block = matrix[start : start + group]
        centers = k_means(block.ravel(), np.broadcast_to(weight + 1e-6, block.shape).ravel(), 2**bits)
        grids.append(np.repeat(round_float16(centers)[None], len(block), axis=0))
    return np.concatenate(grids)


def k_means(values: Array, weights: Array, count: int) -> Array:
    """Return `count` ascending centres of the 1-D `values`, weighted. Centres repeat where fewer values are distinct.

    The initial centres are spread by the cube root of the density, as in the best quantizer with many steps (Panter and
    Dite, 1951). Assignments are exact because the values are sorted.
    """
    order = np.argsort(values, kind="stable")
    x, w = values[order], weights[order]
    distinct = np.unique(x)
    if len(distinct) <= count:
        return np.concatenate([distinct, np.full(count - len(distinct), distinct[-1])])
    density, edges = np.histogram(x, bins=512, weights=w)
    spread = np.concatenate([[0.0], np.cumsum(np.cbrt(density))])
    centers = np.interp((np.arange(count) + 0.5) / count * spread[-1], spread, edges)
    mass, moment = np.concatenate([[0.0], np.cumsum(w)]), np.concatenate([[0.0], np.cumsum(w * x)])
    for _ in range(ROUNDS):
        borders = np.concatenate([[0], np.searchsorted(x, (centers[1:] + centers[:-1]) / 2), [len(x)]])
        held = mass[borders[1:]] - mass[borders[:-1]]
        moved = np.where(
            held > 0, (moment[borders[1:]] - moment[borders[:-1]]) / np.where(held > 0, held, 1.0), centers
        )
        moved.sort()
        if np.array_equal(moved, centers):
            break
        centers = moved
    return np.asarray(centers)


def nearest(column: Array, grid: Array) -> Array:
    """Round the element of each row to the row's own grid: `column` is [rows], `grid` is [rows, steps]."""
    index = np.abs(grid - column[:, None]).argmin(axis=1)
    return np.asarray(grid[np.arange(len(grid)), index])
