"""Decompose Fourier transforms along one axis into products with cosine and sine matrices, on real tensors.

Only ONNX has the op, and along one axis alone. The matrices are computed in float64, so the products are as exact as
float32 sums are. A transform of n elements takes n products per element: for the sizes of feature maps (LaMa's fast
Fourier convolutions, GFNet's filters) no more than a convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from export.passes.complex_to_real.arithmetic import Pair

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Transform:
    """Describe a transform along axis `dim`, of `size` elements (None: the axis as it is); `norm` as in torch.fft."""

    dim: int
    size: int | None = None
    norm: str | None = None

    def scale(self, size: int, inverse: bool) -> float:
        """Return the factor of every output element."""
        if self.norm == "ortho":
            return 1.0 / math.sqrt(size)
        return 1.0 / size if inverse == (self.norm != "forward") else 1.0


def fft(x: Pair, transform: Transform, inverse: bool = False) -> Pair:
    """Transform complex to complex: (a + ib)(cos - i sin), with the sign of i flipped for the inverse."""
    size = transform.size or x.real.shape[transform.dim]
    real, imag = (fit_size(part, transform.dim, size) for part in (x.real, x.imag))
    cos, sin = waves(size, size, transform.scale(size, inverse))
    sin = -sin if inverse else sin
    a_cos, a_sin = (multiply_along(real, wave, transform.dim) for wave in (cos, sin))
    b_cos, b_sin = (multiply_along(imag, wave, transform.dim) for wave in (cos, sin))
    return Pair(a_cos + b_sin, b_cos - a_sin)


def rfft(x: torch.Tensor, transform: Transform) -> Pair:
    """Transform real to the non-redundant half of the spectrum: size // 2 + 1 elements."""
    size = transform.size or x.shape[transform.dim]
    x = fit_size(x, transform.dim, size)
    cos, sin = waves(size, size // 2 + 1, transform.scale(size, False))
    return Pair(multiply_along(x, cos, transform.dim), multiply_along(x, -sin, transform.dim))


def irfft(x: Pair, transform: Transform) -> torch.Tensor:
    """Transform the half of a spectrum back to real.

    Every element but the first and, of an even size, the last stands for itself and its conjugate.
    """
    size = transform.size or 2 * (x.real.shape[transform.dim] - 1)
    half = size // 2 + 1
    real, imag = (fit_size(part, transform.dim, half) for part in (x.real, x.imag))
    multiplicity = np.full((half, 1), 2.0)
    multiplicity[0] = 1.0
    if size % 2 == 0:
        multiplicity[-1] = 1.0
    cos, sin = (wave.T * multiplicity for wave in waves(size, half, transform.scale(size, True)))
    return multiply_along(real, cos, transform.dim) - multiply_along(imag, sin, transform.dim)


def waves(size: int, count: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return cos and sin of 2 pi t k / size for t < size and k < count, times `scale`: float64 [size, count] each."""
    angle = 2.0 * math.pi * (np.outer(np.arange(size), np.arange(count)) % size) / size
    return np.cos(angle) * scale, np.sin(angle) * scale


def multiply_along(x: torch.Tensor, matrix: np.ndarray, dim: int) -> torch.Tensor:
    """Multiply each row of `x` along `dim` by the matrix [size of `dim`, output size]."""
    import torch

    # Rounded in NumPy: otherwise the program would hold a float64 constant and its conversion.
    factor = torch.tensor(matrix.astype(np.float32))
    if dim % x.ndim == x.ndim - 1:
        return x @ factor
    return (x.movedim(dim, -1) @ factor).movedim(-1, dim)


def fit_size(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """Crop `x`, or pad it with zeros at the end, to `size` elements along `dim`."""
    import torch

    current = x.shape[dim]
    if current > size:
        return x.narrow(dim, 0, size)
    if current < size:
        shape = list(x.shape)
        shape[dim] = size - current
        return torch.cat([x, torch.zeros(shape, dtype=x.dtype)], dim)
    return x
