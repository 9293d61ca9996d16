"""Graph fix: assignments to parts of a tensor.

Symptom: `x[x < 0.4] = 0.4` becomes `non_zero` and a scatter whose shapes are known at run time alone; `x[:, :2] = y`
becomes a scatter over the whole tensor; nan_to_num, three of the former kind.
Cause: coremltools 9.0 converts index_put, slice_scatter and select_scatter to MIL's scatters one to one.
Retired by: a coremltools that writes selections and concatenations (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.spell_out import replaced_numbers, rewritten, writes

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spell_out_writes(exported: ExportedProgram) -> ExportedProgram:
    """The program with assignments as selections and concatenations."""
    return rewritten(exported, writes() | replaced_numbers())
