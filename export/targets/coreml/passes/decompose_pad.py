"""Graph fix: circular and negative padding.

Symptom: "Pad mode should be one of {'constant', 'reflect', 'replicate'}"; "pad must be non-negative integer".
Cause: MIL's `pad` has neither and coremltools 9.0 no other way to say it.
Retired by: a coremltools that converts it (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.spell_out import odd_pads, rewritten

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spell_out_odd_pads(exported: ExportedProgram) -> ExportedProgram:
    """The program with such pads as concatenations and slices."""
    return rewritten(exported, odd_pads())
