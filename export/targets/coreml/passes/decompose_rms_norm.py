"""Graph fix: root-mean-square norms.

Symptom: "node rms_norm (rms_norm) got 3 input(s), expected [4]" for nn.RMSNorm with its default epsilon.
Cause: coremltools 9.0 counts the arguments of `aten.rms_norm`, whose last one torch.export leaves out.
Retired by: a coremltools that knows the default (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from export.passes.decompose import norm
from export.passes.decompose.table import DecomposeOps

decompose_rms_norm = DecomposeOps("decompose_rms_norm", norm.rms_norm)
