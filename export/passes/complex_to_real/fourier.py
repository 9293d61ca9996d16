"""Fourier transforms along one axis as products with matrices of cosines and sines.

No format but ONNX has them all, and ONNX only along one axis. The matrices are computed in float64: the products are
as exact as float32 sums are. A transform of n values takes n products a value, for the sizes of feature maps (LaMa's
fast Fourier convolutions, GFNet's filters) no more than a convolution does.
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
    """Along axis `dim`, of `size` values (None: as many as there are); `norm` as PyTorch names it."""

    dim: int
    size: int | None = None
    norm: str | None = None

    def scale(self, size: int, inverse: bool) -> float:
        if self.norm == "ortho":
            return 1.0 / math.sqrt(size)
        return 1.0 / size if inverse == (self.norm != "forward") else 1.0


def fft(x: Pair, how: Transform, inverse: bool = False) -> Pair:
    """Complex to complex: (a + ib)(cos -+ i sin)."""
    size = how.size or x.real.shape[how.dim]
    real, imag = (sized(part, how.dim, size) for part in (x.real, x.imag))
    cos, sin = waves(size, size, how.scale(size, inverse))
    sin = -sin if inverse else sin
    a_cos, a_sin = (along(real, wave, how.dim) for wave in (cos, sin))
    b_cos, b_sin = (along(imag, wave, how.dim) for wave in (cos, sin))
    return Pair(a_cos + b_sin, b_cos - a_sin)


def rfft(x: torch.Tensor, how: Transform) -> Pair:
    """Real to the half of the spectrum that tells the other."""
    size = how.size or x.shape[how.dim]
    x = sized(x, how.dim, size)
    cos, sin = waves(size, size // 2 + 1, how.scale(size, False))
    return Pair(along(x, cos, how.dim), along(x, -sin, how.dim))


def irfft(x: Pair, how: Transform) -> torch.Tensor:
    """Back from that half: all but the first and, of an even size, the last stand for two."""
    size = how.size or 2 * (x.real.shape[how.dim] - 1)
    half = size // 2 + 1
    real, imag = (sized(part, how.dim, half) for part in (x.real, x.imag))
    twice = np.full((half, 1), 2.0)
    twice[0] = 1.0
    if size % 2 == 0:
        twice[-1] = 1.0
    cos, sin = (wave.T * twice for wave in waves(size, half, how.scale(size, True)))
    return along(real, cos, how.dim) - along(imag, sin, how.dim)


def waves(size: int, count: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi t k / size, [size, count], times `scale`."""
    angle = 2.0 * math.pi * (np.outer(np.arange(size), np.arange(count)) % size) / size
    return np.cos(angle) * scale, np.sin(angle) * scale


def along(x: torch.Tensor, matrix: np.ndarray, dim: int) -> torch.Tensor:
    """Each row of `x` along `dim`, times the matrix."""
    import torch

    # Rounded here: a constant of float64 and its rounding would be in the program otherwise.
    factor = torch.tensor(matrix.astype(np.float32))
    if dim % x.ndim == x.ndim - 1:
        return x @ factor
    return (x.movedim(dim, -1) @ factor).movedim(-1, dim)


def sized(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """`x` cut, or filled up with zeros, to `size` along `dim`."""
    import torch

    have = x.shape[dim]
    if have > size:
        return x.narrow(dim, 0, size)
    if have < size:
        shape = list(x.shape)
        shape[dim] = size - have
        return torch.cat([x, torch.zeros(shape, dtype=x.dtype)], dim)
    return x
