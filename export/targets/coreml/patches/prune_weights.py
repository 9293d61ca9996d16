"""Compression fix: the smallest weights of a large tensor.

Symptom: a sparse recipe leaves every float16 tensor of more than 65,504 values as it was, without a word.
Cause: coremltools 9.0 asks numpy for a percentile of float16 values; numpy computes its place among them in float16
too, whose last number is 65,504, and nothing is smaller than the NaN that comes out.
Retired by: a coremltools or numpy that counts in more bits (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import Any

import numpy as np


@contextmanager
def magnitudes_in_float32() -> Iterator[None]:
    """Have coremltools rank magnitudes in float32 while the context lasts; the kept elements keep their dtype."""
    pruning = import_module("coremltools.optimize.coreml._quantization_passes").prune_weights
    original = pruning.compress_by_magnitude

    @wraps(original)
    def in_float32(val: Any, *arguments: Any, **named: Any) -> Any:
        params = original(val.astype(np.float32), *arguments, **named)
        return params and params._replace(nonzero_data=params.nonzero_data.astype(val.dtype))

    pruning.compress_by_magnitude = staticmethod(in_float32)
    try:
        yield
    finally:
        pruning.compress_by_magnitude = staticmethod(original)
