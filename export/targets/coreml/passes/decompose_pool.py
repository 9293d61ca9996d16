"""Decompose dilated max pools and average pools with a divisor, `aten.max_pool2d` and `aten.avg_pool2d`.

Before: aten.max_pool2d(x, kernel, stride, padding, dilation > 1)
After:  the maximum of strided slices of the padded x, one per kernel element
Before: aten.avg_pool2d(x, kernel, stride, padding, divisor_override=d)
After:  aten.avg_pool2d(padded x, kernel, stride) * (kernel elements / d)

Symptom: "@max_pool does not support dilation > 1"; "divisor_override is not supported for avg_pool2d".
Cause: MIL's `max_pool` has no dilation (apple/coremltools#1665), and its `avg_pool` no divisor.
Retired by: an op set that has them (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from export.passes.decompose import pooling
from export.passes.decompose.table import DecomposeOps

decompose_pool = DecomposeOps("decompose_pool", pooling.dilated_max_pool, pooling.avg_pool_divisor)
