"""Graph fix: circular and negative padding.

Symptom: "Pad mode should be one of {'constant', 'reflect', 'replicate'}"; "pad must be non-negative integer".
Cause: MIL's `pad` has neither and coremltools 9.0 no other way to say it.
Retired by: a coremltools that converts it (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from export.passes.decompose import pad
from export.passes.decompose.table import DecomposeOps

decompose_pad = DecomposeOps("decompose_pad", pad.circular_and_negative_pad)
