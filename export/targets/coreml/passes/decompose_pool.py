"""Graph fix: dilated max pools, and average pools with a divisor of their own.

Symptom: "@max_pool does not support dilation > 1"; "divisor_override is not supported for avg_pool2d".
Cause: MIL's `max_pool` has no dilation, and its `avg_pool` no divisor.
Retired by: an op set with them (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.spell_out import dilated_pools, divided_pools, rewritten

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spell_out_odd_pools(exported: ExportedProgram) -> ExportedProgram:
    """The program with dilated max pools as maxima over shifted copies, and divisors as factors."""
    return rewritten(exported, dilated_pools() | divided_pools())
