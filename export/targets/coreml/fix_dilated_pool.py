"""Graph fix: dilated max pools.

Symptom: "@max_pool does not support dilation > 1".
Cause: MIL's `max_pool` has no dilation.
Retired by: an op set with one (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.spell_out import dilated_pools, rewritten

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spell_out_dilated_pools(exported: ExportedProgram) -> ExportedProgram:
    """The program with dilated max pools as maxima over shifted copies."""
    return rewritten(exported, dilated_pools())
