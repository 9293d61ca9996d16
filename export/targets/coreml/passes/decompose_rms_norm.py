"""Decompose `aten.rms_norm`.

Before: aten.rms_norm(x, shape, weight, eps)
After:  x * aten.rsqrt(mean of x^2 over the last axes + eps) * weight

Symptom: "node rms_norm (rms_norm) got 3 input(s), expected [4]" for nn.RMSNorm with its default epsilon.
Cause: coremltools 9.0 counts the arguments of `aten.rms_norm`. torch.export leaves the default of the last one out.
With all four given, coremltools multiplies eps by the square of the largest |x| (apple/coremltools#2821).
Retired by: a coremltools that knows the default and does not scale eps (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from export.passes.decompose import norm
from export.passes.decompose.table import DecomposeOps

decompose_rms_norm = DecomposeOps("decompose_rms_norm", norm.rms_norm)
