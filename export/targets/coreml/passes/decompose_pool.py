"""Decompose dilated max pools and average pools with a divisor, `aten.max_pool2d` and `aten.avg_pool2d`.

Before: aten.max_pool2d(x, kernel, stride, padding, dilation > 1)
After:  the maximum of strided slices of the padded x, one per kernel element
Before: aten.avg_pool2d(x, kernel, stride, padding, divisor_override=d)
After:  aten.avg_pool2d(padded x, kernel, stride) * (kernel elements / d)
Before: a pool of maps [C, H, W]; aten.max_pool1d with dilation
After:  the pool of [1, C, H, W] without the first axis; aten.max_pool2d of maps of one row

Symptom: "@max_pool does not support dilation > 1"; "divisor_override is not supported for avg_pool2d";
"input_shape (length 1), kernel_shape (length 2)" for maps without a batch axis.
Cause: MIL's `max_pool` has no dilation (apple/coremltools#1665), its `avg_pool` no divisor, and both need a batch axis.
Retired by: an op set that has them (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult, run_passes
from export.passes.decompose import pooling
from export.passes.decompose.table import DecomposeOps

if TYPE_CHECKING:
    from torch.export import ExportedProgram

STEPS = (
    # Each step writes pools that the next one reads.
    DecomposeOps("decompose_pool_shapes", pooling.unbatched_pool, pooling.dilated_max_pool_of_rows),
    DecomposeOps("decompose_pool_arguments", pooling.dilated_max_pool, pooling.avg_pool_divisor),
)


def decompose_pool(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose the pools that MIL has no op for; others stay."""
    return run_passes(program, STEPS)
