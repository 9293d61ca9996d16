"""Compute with complex tensors as pairs of real tensors.

A real operand has no imaginary part. It stays a tensor where the product is simpler with a tensor than with a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold the real and imaginary parts of a complex tensor, of equal shape."""

    real: torch.Tensor
    imag: torch.Tensor


def as_pair(x: Any) -> Pair:
    """Return a complex tensor, a real tensor or a Python number as a pair."""
    import torch

    if isinstance(x, Pair):
        return x
    if isinstance(x, torch.Tensor):
        return Pair(x, torch.zeros_like(x))
    return Pair(torch.tensor(float(complex(x).real)), torch.tensor(float(complex(x).imag)))


def mul(x: Any, y: Any) -> Pair:
    if not (isinstance(x, Pair) and isinstance(y, Pair)) and not isinstance(x, complex) and not isinstance(y, complex):
        pair, factor = (x, y) if isinstance(x, Pair) else (y, x)
        return Pair(pair.real * factor, pair.imag * factor)
    x, y = as_pair(x), as_pair(y)
    return Pair(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)


def div(x: Any, y: Any) -> Pair:
    if not isinstance(y, Pair):
        return Pair(x.real / y, x.imag / y)
    size = y.real.square() + y.imag.square()
    return mul(x, Pair(y.real / size, -y.imag / size))


def add(x: Any, y: Any, *, alpha: float = 1) -> Pair:
    x, y = as_pair(x), as_pair(y)
    return Pair(x.real + alpha * y.real, x.imag + alpha * y.imag)


def bilinear(op: Callable[..., torch.Tensor], x: Any, y: Any) -> Pair:
    """Apply an op that is linear in both operands, such as `aten.matmul`, to pairs."""
    if not isinstance(x, Pair):
        return Pair(op(x, y.real), op(x, y.imag))
    if not isinstance(y, Pair):
        return Pair(op(x.real, y), op(x.imag, y))
    return Pair(op(x.real, y.real) - op(x.imag, y.imag), op(x.real, y.imag) + op(x.imag, y.real))


def einsum(equation: str, operands: list[Any], **more: Any) -> Pair:
    import torch

    if len(operands) != 2:
        raise NotImplementedError(f"aten.einsum of {len(operands)} operands on complex tensors (supported: 2 operands)")
    return bilinear(lambda x, y: torch.einsum(equation, x, y), *operands)


def conj(x: Pair) -> Pair:
    return Pair(x.real, -x.imag)


def exp(x: Pair) -> Pair:
    import torch

    return polar(torch.exp(x.real), x.imag)


def polar(size: torch.Tensor, angle: torch.Tensor) -> Pair:
    import torch

    return Pair(size * torch.cos(angle), size * torch.sin(angle))


def to_dtype(x: Any, *arguments: Any, **more: Any) -> Any:
    """Convert between real and complex dtypes: `aten.to` and `aten._to_copy`. A real dtype takes the real part."""
    import torch

    wanted = next((value for value in (*arguments, *more.values()) if isinstance(value, torch.dtype)), None)
    if wanted is None:
        return x
    if not wanted.is_complex:
        return as_pair(x).real.to(wanted)
    pair, part = as_pair(x), wanted.to_real()
    return Pair(pair.real.to(part), pair.imag.to(part))


def handlers() -> dict[str, Callable[..., Any]]:
    """Return the implementation on pairs of each ATen op, by its name without overload."""
    import torch

    return {
        "mul": mul,
        "div": div,
        "add": add,
        "sub": lambda x, y, *, alpha=1: add(x, y, alpha=-alpha),
        "matmul": partial(bilinear, torch.matmul),
        "bmm": partial(bilinear, torch.bmm),
        "mm": partial(bilinear, torch.mm),
        "einsum": einsum,
        "conj": conj,
        "_conj": conj,
        "conj_physical": conj,
        "exp": exp,
        "to": to_dtype,
        "_to_copy": to_dtype,
        "polar": polar,
        "complex": Pair,
        "view_as_complex": lambda x: Pair(x.select(-1, 0), x.select(-1, 1)),
        "view_as_real": lambda x: torch.stack([x.real, x.imag], -1),
        "real": lambda x: x.real,
        "imag": lambda x: x.imag,
        "abs": lambda x: (x.real.square() + x.imag.square()).sqrt(),
        "angle": lambda x: torch.atan2(x.imag, x.real),
    }
