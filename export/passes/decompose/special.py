"""Decompose special functions: Bessel, gamma and error functions, which no converter but PyTorch's own has.

Symptom: "No decompositions registered for prims.lgamma", "op 'prims::bessel_i0' is not supported by coremltools", "op
'aten.digamma.default' is not supported by litert-torch".
Cause: the formats have no such ops, and PyTorch decomposes them into `prims` only.
Retired by: nothing known.

Each function is a Chebyshev series per interval (special_tables.py), or an asymptotic series after a shift. The error
is a few units of float32 of the largest value. Poles, branch points and arguments outside of the domain give infinity
and NaN as PyTorch does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from export.passes.decompose import special_tables as tables
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

# The argument from which Stirling's and the digamma series are exact to float32.
SHIFT = 7
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
# B(2j) / (2j)! of the Euler-Maclaurin formula, j = 1, 2, 3, 4.
BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600)


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose the gamma functions, the inverse and scaled error functions, and the Bessel functions of real x."""
    return gamma_functions() | error_functions() | bessel_functions() | modified_bessel_functions()


def series(coefficients: Sequence[float], t: Tensor) -> Tensor:
    """Return the Chebyshev series of `coefficients` at `t` (Clenshaw 1955)."""
    twice = t * 2
    before, last = t * 0, t * 0 + coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        before, last = last, twice * last - before + coefficient
    return t * last - before + coefficients[0]


def nan_where(condition: Tensor, x: Tensor) -> Tensor:
    import torch

    return torch.where(condition, torch.full_like(x, math.nan), x)


def stays(x: Tensor) -> bool:
    """Return whether an op of `x` is left as it is: doubles, whose digits the series do not have, and integers."""
    import torch

    return x.dtype not in (torch.float32, torch.float16)


def gamma_functions() -> DecompositionTable:
    """Decompose `lgamma`, `digamma`, `polygamma` and `mvlgamma`: Stirling's series after a shift, and reflection."""
    import torch

    aten = torch.ops.aten

    def mvlgamma(x: Tensor, p: int) -> Any:
        if stays(x):
            return KEEP_OP
        total = lgamma(x)
        for number in range(1, p):
            total = total + lgamma(x - number / 2)
        return total + p * (p - 1) / 4 * math.log(math.pi)

    return {
        aten.lgamma.default: lambda x: KEEP_OP if stays(x) else lgamma(x),
        aten.digamma.default: lambda x: KEEP_OP if stays(x) else digamma(x),
        aten.polygamma.default: lambda n, x: KEEP_OP if stays(x) else polygamma(n, x),
        aten.mvlgamma.default: mvlgamma,
    }


def lgamma(x: Tensor) -> Tensor:
    import torch

    mirrored = x < 0.5
    y = torch.where(mirrored, 1 - x, x)
    small = y < SHIFT
    z = torch.where(small, y + SHIFT, y)
    product, base = torch.where(small, y, torch.ones_like(y)), torch.where(small, y, torch.zeros_like(y))
    for step in range(1, SHIFT):
        product = product * torch.where(small, base + step, torch.ones_like(y))
    inverse = 1 / z
    square = inverse * inverse
    stirling = (z - 0.5) * torch.log(z) - z + HALF_LOG_TAU + inverse * (1 / 12 - square * (1 / 360 - square / 1260))
    value = stirling - torch.log(product)
    # Near a pole only the distance to the nearest integer has digits.
    sine = torch.abs(torch.sin(math.pi * (x - torch.round(x))))
    return torch.where(mirrored, math.log(math.pi) - torch.log(sine) - value, value)


def digamma(x: Tensor) -> Tensor:
    import torch

    mirrored, fraction = x < 0.5, x - torch.round(x)
    y = torch.where(mirrored, 1 - x, x)
    total = torch.zeros_like(y)
    for step in range(SHIFT):
        total = total + 1 / (y + step)
    z = y + SHIFT
    square = 1 / (z * z)
    value = torch.log(z) - 0.5 / z - square * (1 / 12 - square * (1 / 120 - square / 252)) - total
    cotangent = math.pi * torch.cos(math.pi * fraction) / torch.sin(math.pi * fraction)
    value = torch.where(mirrored, value - cotangent, value)
    return nan_where((fraction == 0) & (x < 0), value)


def polygamma(n: int, x: Tensor) -> Any:
    """Return the n-th derivative of digamma: n! zeta(n + 1, y), by the Euler-Maclaurin formula, for y >= 0.5."""
    import torch

    if n == 0:
        return digamma(x)
    mirrored, fraction = x < 0.5, x - torch.round(x)
    y = torch.where(mirrored, 1 - x, x)
    total = torch.zeros_like(y)
    for step in range(SHIFT):
        total = total + 1 / torch.pow(y + step, n + 1)
    z = y + SHIFT
    power = 1 / torch.pow(z, n)
    total = total + power / n + 0.5 * power / z
    factor = float(n + 1)
    power = power / (z * z)
    for number, bernoulli in enumerate(BERNOULLI):
        total = total + bernoulli * factor * power
        factor *= (n + 2 + 2 * number) * (n + 3 + 2 * number)
        power = power / (z * z)
    value = (-1.0) ** (n + 1) * math.factorial(n) * total
    cotangent = torch.cos(math.pi * fraction) / torch.sin(math.pi * fraction)
    derivative = torch.zeros_like(x)
    for coefficient in reversed(cotangent_derivative(n)):
        derivative = derivative * cotangent + coefficient
    value = torch.where(mirrored, (-1.0) ** n * value - derivative * math.pi ** (n + 1), value)
    pole = torch.full_like(x, (-1.0) ** (n + 1) * math.inf)
    return torch.where((fraction == 0) & (x <= 0), pole, value)


def cotangent_derivative(n: int) -> list[float]:
    """Return the n-th derivative of cot as a polynomial of cot, from its constant: cot' = -(1 + cot^2)."""
    polynomial = [0.0, 1.0]
    for _ in range(n):
        slope = [power * coefficient for power, coefficient in enumerate(polynomial)][1:]
        polynomial = [
            -(slope[power] if power < len(slope) else 0.0) - (slope[power - 2] if power >= 2 else 0.0)
            for power in range(len(slope) + 2)
        ]
    return polynomial


def error_functions() -> DecompositionTable:
    """Decompose `erfinv`, `special_ndtri`, `special_erfcx` and `special_log_ndtr`."""
    import torch

    aten = torch.ops.aten

    def inverse(x: Tensor, remainder: Tensor) -> Tensor:
        """Return erfinv(x), where `remainder` is 1 - x^2 (after Giles, GPU Computing Gems 2012)."""
        w = -torch.log(remainder)
        root = torch.sqrt(torch.clamp(w, 5.0, 88.0))
        low = math.sqrt(5.0)
        large = series(tables.ERFINV_LARGE, (root - low) * (2 / (9.4 - low)) - 1)
        value = x * torch.where(w < 5, series(tables.ERFINV_SMALL, torch.clamp(w, 0.0, 5.0) / 2.5 - 1), large)
        return torch.where(remainder == 0, torch.sign(x) * math.inf, nan_where(remainder < 0, value))

    def erfinv(x: Tensor) -> Any:
        return KEEP_OP if stays(x) else inverse(x, (1 - x) * (1 + x))

    def ndtri(p: Tensor) -> Any:
        return KEEP_OP if stays(p) else math.sqrt(2.0) * inverse(2 * p - 1, 4 * p * (1 - p))

    def scaled(x: Tensor) -> Tensor:
        a = torch.abs(x)
        value = series(tables.ERFCX, 1 - 4 / (a + 2)) / (1 + 2 * a)
        return torch.where(x < 0, 2 * torch.exp(x * x) - value, value)

    def log_ndtr(x: Tensor) -> Any:
        if stays(x):
            return KEEP_OP
        t = x * math.sqrt(0.5)
        below = torch.clamp(t, max=0.0)
        tail = torch.log(scaled(-below) / 2) - below * below
        return torch.where(x < 0, tail, torch.log(0.5 + 0.5 * torch.erf(t)))

    return {
        aten.erfinv.default: erfinv,
        aten.special_ndtri.default: ndtri,
        aten.special_erfcx.default: lambda x: KEEP_OP if stays(x) else scaled(x),
        aten.special_log_ndtr.default: log_ndtr,
    }


def bessel_functions() -> DecompositionTable:
    """Decompose the Bessel functions of the first and second kind, order 0 and 1, and `special_spherical_bessel_j0`."""
    import torch

    aten = torch.ops.aten

    def waves(order: int, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return J and Y of `order` for a >= 8 by Hankel's expansion (Abramowitz and Stegun 9.2.5)."""
        a = torch.clamp(a, min=8.0)
        z = 8 / a
        t = 2 * z * z - 1
        p = series((tables.P0, tables.P1)[order], t)
        q = series((tables.Q0, tables.Q1)[order], t) * z
        phase = a - (0.25 + 0.5 * order) * math.pi
        cosine, sine, size = torch.cos(phase), torch.sin(phase), torch.sqrt(2 / (math.pi * a))
        return size * (p * cosine - q * sine), size * (p * sine + q * cosine)

    def small(a: Tensor) -> Tensor:
        a = torch.clamp(a, max=8.0)
        return a * a / 32 - 1

    def j0(x: Tensor) -> Tensor:
        a = torch.abs(x)
        return torch.where(a < 8, series(tables.J0_SMALL, small(a)), waves(0, a)[0])

    def j1(x: Tensor) -> Tensor:
        a = torch.abs(x)
        return torch.where(a < 8, x * series(tables.J1_SMALL, small(a)), torch.sign(x) * waves(1, a)[0])

    def y0(x: Tensor) -> Tensor:
        near = series(tables.Y0_SMALL, small(x)) + 2 / math.pi * torch.log(x) * j0(x)
        return nan_where(x < 0, torch.where(x < 8, near, waves(0, x)[1]))

    def y1(x: Tensor) -> Tensor:
        near = x * series(tables.Y1_SMALL, small(x)) + 2 / math.pi * (torch.log(x) * j1(x) - 1 / x)
        value = torch.where(x < 8, near, waves(1, x)[1])
        return torch.where(x == 0, torch.full_like(x, -math.inf), nan_where(x < 0, value))

    def spherical(x: Tensor) -> Tensor:
        near = torch.abs(x) < 0.5
        square = x * x
        taylor = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
        wave = torch.sin(x) / torch.where(near, torch.ones_like(x), x)
        return torch.where(near, taylor, torch.where(torch.abs(x) == math.inf, torch.zeros_like(x), wave))

    return unary(
        {
            aten.special_bessel_j0.default: j0,
            aten.special_bessel_j1.default: j1,
            aten.special_bessel_y0.default: y0,
            aten.special_bessel_y1.default: y1,
            aten.special_spherical_bessel_j0.default: spherical,
        }
    )


def unary(functions: DecompositionTable) -> DecompositionTable:
    """Return the functions as decompositions that leave doubles and integers as they are."""

    def guarded(function: Any) -> Any:
        return lambda x: KEEP_OP if stays(x) else function(x)

    return {op: guarded(function) for op, function in functions.items()}


def modified_bessel_functions() -> DecompositionTable:
    """Decompose the modified Bessel functions of order 0 and 1, also scaled by exp(-|x|) and exp(x)."""
    import torch

    aten = torch.ops.aten

    def i0e(x: Tensor) -> Tensor:
        a = torch.abs(x)
        near = series(tables.I0_SMALL, torch.clamp(a, max=8.0) / 4 - 1)
        b = torch.clamp(a, min=8.0)
        return torch.where(a < 8, near, series(tables.I0_LARGE, 16 / b - 1) / torch.sqrt(b))

    def i1e(x: Tensor) -> Tensor:
        a = torch.abs(x)
        near = x * series(tables.I1_SMALL, torch.clamp(a, max=8.0) / 4 - 1)
        b = torch.clamp(a, min=8.0)
        return torch.where(a < 8, near, torch.sign(x) * series(tables.I1_LARGE, 16 / b - 1) / torch.sqrt(b))

    def i0(x: Tensor) -> Tensor:
        return torch.exp(torch.abs(x)) * i0e(x)

    def i1(x: Tensor) -> Tensor:
        return torch.exp(torch.abs(x)) * i1e(x)

    def k0e(x: Tensor) -> Tensor:
        a, b = torch.clamp(x, max=2.0), torch.clamp(x, min=2.0)
        near = series(tables.K0_SMALL, a * a / 2 - 1) - torch.log(a / 2) * i0(a)
        return nan_where(x < 0, torch.where(x < 2, torch.exp(a) * near, series(tables.K0_LARGE, 4 / b - 1) / b.sqrt()))

    def k1e(x: Tensor) -> Tensor:
        a, b = torch.clamp(x, max=2.0), torch.clamp(x, min=2.0)
        near = series(tables.K1_SMALL, a * a / 2 - 1) / a + torch.log(a / 2) * i1(a)
        value = torch.where(x < 2, torch.exp(a) * near, series(tables.K1_LARGE, 4 / b - 1) / b.sqrt())
        return torch.where(x == 0, torch.full_like(x, math.inf), nan_where(x < 0, value))

    return unary(
        {
            aten.i0.default: i0,
            aten.special_i0e.default: i0e,
            aten.special_i1.default: i1,
            aten.special_i1e.default: i1e,
            aten.special_modified_bessel_i0.default: i0,
            aten.special_modified_bessel_i1.default: i1,
            aten.special_modified_bessel_k0.default: lambda x: torch.exp(-x) * k0e(x),
            aten.special_modified_bessel_k1.default: lambda x: torch.exp(-x) * k1e(x),
            aten.special_scaled_modified_bessel_k0.default: k0e,
            aten.special_scaled_modified_bessel_k1.default: k1e,
        }
    )
