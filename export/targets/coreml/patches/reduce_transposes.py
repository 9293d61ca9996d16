"""Converter fix: transposes around powers.

Symptom: `x.permute(0, 2, 3, 1) ** y` with an exponent a channel is refused with "Incompatible dim", or, where the axes
happen to be of one size, takes each exponent for another axis without a word.
Cause: coremltools 9.0's pass `reduce_transposes` takes `pow` and `softplus_parametric`, which have a second operand,
for ops of one operand (https://github.com/apple/coremltools/pull/2784).
Retired by: a coremltools with that pull request (tests/export/test_uncommon.py keeps the net).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

BINARY = {"pow", "softplus_parametric"}


@contextmanager
def transposes_around_binary_ops() -> Iterator[None]:
    """Have the pass `reduce_transposes` keep transposes around BINARY ops while the context lasts."""
    optimization = import_module(
        "coremltools.converters.mil.mil.passes.defs.optimize_repeat_ops"
    )._TransposeOptimization
    original = optimization._UNARY_LIKE_OP_TYPES
    optimization._UNARY_LIKE_OP_TYPES = original - BINARY
    try:
        yield
    finally:
        optimization._UNARY_LIKE_OP_TYPES = original
