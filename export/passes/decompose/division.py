"""Decompose quotients that are rounded down and their remainders, so that no format rounds them in its own way.

Symptom: 0.5 // 0.1 is 4 in PyTorch and 5 in the files, and 0.5 % 0.1 is 0.1 and 0. torch.fmod of integers fails with
"Tensor dtype mismatch", and a number // a tensor is refused. x % 1 is 0 in Core ML.
Cause: PyTorch rounds the exact quotient down. Converters round the float32 quotient, which is 5.0 here, because the
float32 that is nearest to 0.1 is larger than 0.1. coremltools 9.0 takes x // 1 for x, and x % 1 for x - x.
Retired by: converters that compute the exact remainder (tests/export/test_integers.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# Veltkamp's splitter for the 24 bits of a float32, scaled by 2**-12 so that no product overflows in float16.
SPLIT = 2.0**-12


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `floor_divide`, `div(rounding_mode="floor")`, `remainder` and `fmod` of floats, and `fmod` of integers.

    Powers of two other than 1 stay as divisors: their quotients are exact. Other ops of integers stay. Exact for
    quotients below 2**24.
    """
    import torch

    aten = torch.ops.aten

    def remainder(x: Any, y: Any) -> Any:
        if is_one(x, y):
            return x - torch.floor(x)
        if not divides_floats(x, y) or is_power_of_two(y):
            return KEEP_OP
        return floored(*as_floats(x, y))[1]

    def floor_divide(x: Any, y: Any) -> Any:
        if is_one(x, y):
            return torch.floor(x)
        if divides_floats(x, y) and not is_power_of_two(y):
            return floored(*as_floats(x, y))[0]
        if not isinstance(x, torch.Tensor):
            return torch.floor_divide(torch.full([], x, dtype=y.dtype), y)
        return KEEP_OP

    def rounded_division(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
        return floor_divide(x, y) if rounding_mode == "floor" else KEEP_OP

    def fmod(x: Any, y: Any) -> Any:
        if not divides_floats(x, y):
            return x - torch.div(x, y, rounding_mode="trunc") * y
        dividend, divisor = as_floats(x, y)
        return torch.sign(dividend) * magnitudes(dividend, divisor)[1]

    table = {
        aten.remainder.Tensor: remainder,
        aten.remainder.Scalar: remainder,
        aten.remainder.Scalar_Tensor: remainder,
        aten.floor_divide.default: floor_divide,
        aten.floor_divide.Scalar: floor_divide,
        aten.div.Tensor_mode: rounded_division,
        aten.div.Scalar_mode: rounded_division,
        aten.fmod.Tensor: fmod,
        aten.fmod.Scalar: fmod,
    }
    nodes = [node for node in program.graph_module.graph.nodes if node.target in table]
    return table if any(is_rounded_otherwise(node) for node in nodes) else {}


def is_rounded_otherwise(node: fx.Node) -> bool:
    """Return whether a format may round this division in its own way, or its converter refuses the operands."""
    operands: list[Any] = list(node.args[:2])
    x, y = (each.meta["val"] if hasattr(each, "meta") else each for each in operands)
    if node.kwargs.get("rounding_mode", "floor") != "floor":
        return False
    is_fmod = "fmod" in str(node.target)
    return is_fmod or isinstance(x, int | float) or is_one(x, y) or (divides_floats(x, y) and not is_power_of_two(y))


def divides_floats(x: Any, y: Any) -> bool:
    """Return whether an operand, a tensor or a number, is a float."""
    import torch

    return any(
        each.is_floating_point() if isinstance(each, torch.Tensor) else isinstance(each, float) for each in (x, y)
    )


def is_one(x: Any, y: Any) -> bool:
    """Return whether a tensor of floats is divided by the number 1."""
    return not isinstance(x, int | float) and x.is_floating_point() and isinstance(y, int | float) and y == 1


def is_power_of_two(y: Any) -> bool:
    """Return whether a divisor is a number whose quotients float32 holds exactly."""
    return isinstance(y, int | float) and y != 0 and abs(math.frexp(y)[0]) == 0.5


def as_floats(x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both operands as tensors of the float dtype that PyTorch divides in."""
    import torch

    dtype = torch.result_type(x, y)
    first, second = (
        each.to(dtype) if isinstance(each, torch.Tensor) else torch.full([], each, dtype=dtype) for each in (x, y)
    )
    return first, second


def floored(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the quotient rounded down and the remainder, which has the sign of `y`."""
    import torch

    quotient, rest = magnitudes(x, y)
    opposite = (x < 0) != (y < 0)
    # -7 / 2: the quotient of the magnitudes is 3 and leaves 1, and the quotient rounded down is -4 and leaves 1.
    moved = opposite & (rest > 0)
    down = torch.where(opposite, -quotient, quotient) - moved.to(x.dtype)
    rest = torch.where(moved, torch.abs(y) - rest, rest)
    return down, torch.where(y < 0, -rest, rest)


def magnitudes(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return floor(|x| / |y|) and the remainder |x| - quotient * |y|, both exact."""
    import torch

    size, step = torch.abs(x), torch.abs(y)
    quotient = torch.floor(size / step)
    product, error = exact_product(quotient, step)
    rest = (size - product) - error
    # The rounded quotient may be one too large or too small.
    low, high = rest < 0, rest >= step
    quotient = quotient - low.to(x.dtype) + high.to(x.dtype)
    return quotient, torch.where(low, rest + step, torch.where(high, rest - step, rest))


def exact_product(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x * y as a rounded product and the error of its rounding (Dekker 1971)."""
    product = x * y
    (x_high, x_low), (y_high, y_low) = split(x), split(y)
    error = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    return product, error


def split(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the upper and lower half of the bits of each element; their sum is `x`."""
    scaled = x * (1 + SPLIT)
    high = (scaled - (scaled - x * SPLIT)) * (1 / SPLIT)
    return high, x - high
