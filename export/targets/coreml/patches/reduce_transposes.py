"""Patch the MIL pass `common::reduce_transposes`, which moves transposes through `pow` and `softplus_parametric`.

Symptom: `x.permute(0, 2, 3, 1) ** y` with one exponent per channel is refused with "Incompatible dim". Where the axes
happen to have the same size, exponents are silently applied along another axis.
Cause: coremltools 9.0 takes `pow` and `softplus_parametric`, which have a second operand, for unary ops.
Retired by: a coremltools with https://github.com/apple/coremltools/pull/2784 (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

NOT_UNARY = {"pow", "softplus_parametric"}


@contextmanager
def transposes_around_binary_ops() -> Iterator[None]:
    """Have `reduce_transposes` keep the transposes around NOT_UNARY ops while the context lasts."""
    optimization = import_module(
        "coremltools.converters.mil.mil.passes.defs.optimize_repeat_ops"
    )._TransposeOptimization
    original = optimization._UNARY_LIKE_OP_TYPES
    optimization._UNARY_LIKE_OP_TYPES = original - NOT_UNARY
    try:
        yield
    finally:
        optimization._UNARY_LIKE_OP_TYPES = original
