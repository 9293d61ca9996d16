"""Patch magnitude pruning of large float16 tensors (`coremltools.optimize.coreml.prune_weights`).

Symptom: a sparse recipe silently leaves each float16 tensor of more than 65,504 elements as it is.
Cause: coremltools 9.0 asks numpy for a percentile of float16 elements. numpy computes the percentile's index in float16
too, whose largest number is 65,504. The result is NaN, and no element is smaller than NaN.
Retired by: a coremltools or numpy that computes the index in a wider dtype (tests/export/test_coreml_passes.py).
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
    """Have coremltools rank magnitudes in float32 while the context lasts. The elements that stay keep their dtype."""
    pruning = import_module("coremltools.optimize.coreml._quantization_passes").prune_weights
    original = vars(pruning)["compress_by_magnitude"]  # the static method, not the function that it gives

    @wraps(original)
    def in_float32(val: Any, *arguments: Any, **named: Any) -> Any:
        params = original(val.astype(np.float32), *arguments, **named)
        return params and params._replace(nonzero_data=params.nonzero_data.astype(val.dtype))

    pruning.compress_by_magnitude = staticmethod(in_float32)
    try:
        yield
    finally:
        pruning.compress_by_magnitude = original
