"""Graph fix: circular padding.

Symptom: "Pad mode should be one of {'constant', 'reflect', 'replicate'}".
Cause: MIL's `pad` has no such mode and coremltools 9.0 no other way to say it.
Retired by: a coremltools that converts it (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.spell_out import circular_pads, rewritten

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spell_out_circular_pads(exported: ExportedProgram) -> ExportedProgram:
    """The program with circular pads as concatenations."""
    return rewritten(exported, circular_pads())
