"""How a weight is rounded: the grid of values that its storage can hold, and which of them each weight becomes.

A layer is a matrix here, [output channels, inputs of one output]. Every function is plain numpy and gives the same
bits for the same input, so that a search, an export and a reader's check speak of the same values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Share of a channel's largest weight at which its grid may end: cutting a few outliers makes all other steps finer.
CLIPS = np.linspace(1.0, 0.7, 13)
# Rounds of k-means over sorted values, after an initial guess that is already close.
ROUNDS = 40
# Of the mean of the Gram matrix's diagonal, added to it: few samples leave directions that no input moves along.
DAMPING = 0.01
# Inputs of a layer beyond which its Gram matrix is not kept (memory grows with the square).
WIDEST = 2304


def as_matrix(value: Array, axis: int) -> Array:
    """`value` with its output channels along `axis` as [outputs, rest], float64."""
    return np.ascontiguousarray(np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1).astype(np.float64))


def from_matrix(matrix: Array, shape: tuple[int, ...], axis: int) -> Array:
    """The inverse of `as_matrix`, float32."""
    moved = (shape[axis], *(size for place, size in enumerate(shape) if place != axis))
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(moved), 0, axis)).astype(np.float32)


def symmetric(matrix: Array, bits: int) -> Array:
    """Each channel on its own grid of 2**bits - 1 steps around zero, to the nearest: what every target's w8 is."""
    top = 2 ** (bits - 1) - 1
    peak = np.abs(matrix).max(axis=1, keepdims=True)
    scale = np.where(peak > 0, peak / top, 1.0).astype(np.float32).astype(np.float64)
    return np.asarray(np.clip(np.round(matrix / scale), -top, top) * scale)


def half(matrix: Array) -> Array:
    """The nearest float16."""
    return np.clip(matrix, -65504, 65504).astype(np.float16).astype(np.float64)


def symmetric_grid(matrix: Array, bits: int, importance: Array | None) -> Array:
    """[outputs, 2**bits - 1] ascending: each channel's symmetric grid, its end where the weighted error is least."""
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
    # float32, as the files hold it.
    scale = (peak * best / top).astype(np.float32).astype(np.float64)
    return np.asarray(scale[:, None] * np.arange(-top, top + 1))


def palette_grid(matrix: Array, bits: int, group: int, importance: Array | None) -> Array:
    """[outputs, 2**bits] ascending, float16 values: k-means over each `group` of channels (0: over all)."""
    outputs, inputs = matrix.shape
    group = group or outputs
    weight = np.ones(inputs) if importance is None else importance / max(float(importance.mean()), 1e-30)
    grids = []
    for start in range(0, outputs, group):
        block = matrix[start : start + group]
        centers = k_means(block.ravel(), np.broadcast_to(weight + 1e-6, block.shape).ravel(), 2**bits)
        grids.append(np.repeat(half(centers)[None], len(block), axis=0))
    return np.concatenate(grids)


def k_means(values: Array, weights: Array, count: int) -> Array:
    """`count` ascending centers of 1-D `values`, weighted; fewer distinct values are repeated.

    The first guess spreads centers by the cube root of the density, which is where the best quantizer of many steps
    has them (Panter and Dite, 1951); assignments are exact, values being sorted.
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
    """Each row's value on the row's own grid: column [outputs], grid [outputs, steps]."""
    place = np.abs(grid - column[:, None]).argmin(axis=1)
    return np.asarray(grid[np.arange(len(grid)), place])


def to_grid(matrix: Array, grid: Array, gram: Array | None, pinned: bool = False) -> Array:
    """`matrix` on `grid`, row by row; with `gram` [inputs, inputs] so that the layer's outputs move least.

    `pinned`: each channel's largest weight goes to the end of the channel's own grid, so that who reads the values
    back finds the same grid. Not for a grid that channels share: its end is another channel's.

    Without it, to the nearest. With it, input by input, and what rounding an input did is made up for by those not yet
    rounded (Frantar et al. 2022, GPTQ, the inputs of most weight first). `gram` is the sum of x x^T over samples.
    """
    if gram is None:
        return np.stack([nearest(column, grid) for column in matrix.T], axis=1)
    outputs, inputs = matrix.shape
    order = np.argsort(-np.diag(gram), kind="stable")
    factor = error_factor(gram[np.ix_(order, order)])
    left, made = matrix[:, order].copy(), np.empty_like(matrix)
    peaks = np.abs(left).argmax(axis=1)
    ends = np.where(left[np.arange(outputs), peaks] > 0, grid[:, -1], grid[:, 0])
    for place in range(inputs):
        chosen = nearest(left[:, place], grid)
        chosen = np.where(peaks == place, ends, chosen) if pinned else chosen
        made[:, order[place]] = chosen
        error = (left[:, place] - chosen) / factor[place, place]
        left[:, place + 1 :] -= error[:, None] * factor[place, place + 1 :]
    return made


def error_factor(gram: Array) -> Array:
    """The upper Cholesky factor of the damped Gram matrix's inverse."""
    damped = gram.astype(np.float64) + np.eye(len(gram)) * max(DAMPING * float(np.diag(gram).mean()), 1e-12)
    inverse = np.linalg.inv(damped)
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)


def output_error(matrix: Array, made: Array, gram: Array | None) -> float:
    """How far the layer's outputs move, squared: tr(D G D^T), or the squared change of the weights without data."""
    difference = matrix - made
    if gram is None:
        return float((difference**2).sum())
    return float(((difference @ gram) * difference).sum())
