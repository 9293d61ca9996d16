"""Decompose writes into parts of a tensor: `aten.slice_scatter`, `aten.select_scatter`, `aten.index_put`.

Before: x[:, :2] = y; x[mask] = number; aten.nan_to_num(x)
After:  the concatenation of y and a slice of x; aten.where(mask, number, x); aten.where(x != x, number, x), ...

Symptom: `x[x < 0.4] = 0.4` converts to `non_zero` and a scatter, whose shapes are known only at run time.
`x[:, :2] = y` converts to a scatter over the whole tensor. `nan_to_num` converts to three masked writes.
Cause: coremltools 9.0 converts `index_put`, `slice_scatter` and `select_scatter` to MIL's scatter ops one to one.
Retired by: a coremltools that converts them to `select` and `concat` (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from export.passes.decompose import elementwise, scatter
from export.passes.decompose.table import DecomposeOps

decompose_scatter = DecomposeOps("decompose_scatter", scatter.slice_writes, elementwise.nan_to_num)
