"""Graph fix: dilated max pools, and average pools with a divisor of their own.

Symptom: "@max_pool does not support dilation > 1"; "divisor_override is not supported for avg_pool2d".
Cause: MIL's `max_pool` has no dilation, and its `avg_pool` no divisor.
Retired by: an op set with them (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from export.passes.decompose import pooling
from export.passes.decompose.table import DecomposeOps

decompose_pool = DecomposeOps("decompose_pool", pooling.dilated_max_pool, pooling.avg_pool_divisor)
