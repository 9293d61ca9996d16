"""GPTQ: round a weight so that the layer's outputs move least (Frantar et al. 2022).

A layer is a matrix here, [output channels, inputs of one output channel]; its Gram matrix is the sum of x x^T over the
calibration samples (gram.py). Plain numpy, with the same bits for the same input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.grids import nearest

Array = NDArray[Any]

# Added to the Gram matrix as a share of its diagonal's mean: few samples leave directions that no input moves along.
DAMPING = 0.01


def round_to_grid(matrix: Array, grid: Array, gram: Array | None, pinned: bool = False) -> Array:
    """Round `matrix` to `grid`, each row to its own row of values.

    Without `gram` [inputs, inputs], round to the nearest. With it, round one input after the other, by descending
    diagonal element; the inputs that are not yet rounded compensate for the error.

    `pinned`: round the largest weight of each channel to the end of the channel's grid, so that a reader of the values
    finds the same grid. Not for a grid that channels share, whose end belongs to another channel.
    """
    if gram is None:
        return np.stack([nearest(column, grid) for column in matrix.T], axis=1)
    outputs, inputs = matrix.shape
    order = np.argsort(-np.diag(gram), kind="stable")
    factor = error_factor(gram[np.ix_(order, order)])
    left, result = matrix[:, order].copy(), np.empty_like(matrix)
    peaks = np.abs(left).argmax(axis=1)
    ends = np.where(left[np.arange(outputs), peaks] > 0, grid[:, -1], grid[:, 0])
    for index in range(inputs):
        rounded = nearest(left[:, index], grid)
        rounded = np.where(peaks == index, ends, rounded) if pinned else rounded
        result[:, order[index]] = rounded
        error = (left[:, index] - rounded) / factor[index, index]
        left[:, index + 1 :] -= error[:, None] * factor[index, index + 1 :]
    return result


def error_factor(gram: Array) -> Array:
    """Return the upper Cholesky factor of the inverse of the damped Gram matrix."""
    damped = gram.astype(np.float64) + np.eye(len(gram)) * max(DAMPING * float(np.diag(gram).mean()), 1e-12)
    inverse = np.linalg.inv(damped)
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)


def output_error(matrix: Array, rounded: Array, gram: Array | None) -> float:
    """Return the squared error of the layer's outputs, tr(D G D^T); without `gram`, the squared error of the weights.

    D is the difference of `matrix` and `rounded`, G the Gram matrix.
    """
    difference = matrix - rounded
    if gram is None:
        return float((difference**2).sum())
    return float(((difference @ gram) * difference).sum())
