"""Decompose circular and negative padding, `aten.pad`.

Before: aten.pad(x, pads, "circular"); aten.pad(x, pads) with a negative pad
After:  the concatenation of slices of x; slices of x, and aten.pad with the pads that are not negative

Symptom: "Pad mode should be one of {'constant', 'reflect', 'replicate'}"; "pad must be non-negative integer".
Cause: MIL's `pad` has neither, and coremltools 9.0 has no other conversion (pytorch/executorch#11710).
Retired by: a coremltools that converts both (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from export.passes.decompose import pad
from export.passes.decompose.table import DecomposeOps

decompose_pad = DecomposeOps("decompose_pad", pad.circular_and_negative_pad)
