"""Graph fix: assignments to parts of a tensor.

Symptom: `x[x < 0.4] = 0.4` becomes `non_zero` and a scatter whose shapes are known at run time alone; `x[:, :2] = y`
becomes a scatter over the whole tensor; nan_to_num, three of the former kind.
Cause: coremltools 9.0 converts index_put, slice_scatter and select_scatter to MIL's scatters one to one.
Retired by: a coremltools that writes selections and concatenations (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from export.passes.decompose import elementwise, scatter
from export.passes.decompose.table import DecomposeOps

decompose_scatter = DecomposeOps("decompose_scatter", scatter.slice_writes, elementwise.nan_to_num)
