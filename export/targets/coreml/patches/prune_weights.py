"""Compression fix: the smallest weights of a large tensor.

Symptom: a sparse recipe leaves every float16 tensor of more than 65,504 values as it was, without a word.
Cause: coremltools 9.0 asks numpy for a percentile of float16 values; numpy computes its place among them in float16
too, whose last number is 65,504, and nothing is smaller than the NaN that comes out.
Retired by: a coremltools or numpy that counts in more bits (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from functools import cache, wraps
from importlib import import_module
from typing import Any

import numpy as np


@cache
def register_sparsity() -> None:
    """Have coremltools find the smallest values of a tensor in float32; those it keeps stay as they were."""
    pruning = import_module("coremltools.optimize.coreml._quantization_passes").prune_weights
    vendors = pruning.compress_by_magnitude

    @wraps(vendors)
    def in_float32(val: Any, *arguments: Any, **named: Any) -> Any:
        made = vendors(val.astype(np.float32), *arguments, **named)
        return made and made._replace(nonzero_data=made.nonzero_data.astype(val.dtype))

    pruning.compress_by_magnitude = staticmethod(in_float32)
