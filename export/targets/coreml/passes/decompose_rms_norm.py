"""Graph fix: root-mean-square norms.

Symptom: "node rms_norm (rms_norm) got 3 input(s), expected [4]" for nn.RMSNorm with its default epsilon.
Cause: coremltools 9.0 counts the arguments of `aten.rms_norm`, whose last one torch.export leaves out.
Retired by: a coremltools that knows the default (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.spell_out import rewritten, rms_norms

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spell_out_rms_norms(exported: ExportedProgram) -> ExportedProgram:
    """The program with root-mean-square norms in means and products."""
    return rewritten(exported, rms_norms())
