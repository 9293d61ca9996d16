"""Graph fix: selections between a tensor and a number.

Symptom: `torch.where(x > 0, 0, x)` (nn.Hardshrink too) fails with "the named input `b` must have the same data type as
the named input `a`"; `torch.where(x > 0, x, 0)` with "Unsupported fx node where".
Cause: coremltools 9.0 gives the number the type it is written in, and knows `where.self` and `where.ScalarSelf` alone.
Retired by: a coremltools that promotes numbers to the tensor's type (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.table import DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def where_scalars(program: ExportedProgram) -> DecompositionTable:
    """How: decompositions of other ops select between tensors and numbers too."""
    import torch

    aten = torch.ops.aten

    def where(condition: torch.Tensor, a: torch.Tensor | float, b: torch.Tensor | float) -> torch.Tensor:
        kind = torch.result_type(a, b)
        like = next((value for value in (a, b) if isinstance(value, torch.Tensor)), condition)
        sides = [
            value.to(kind) if isinstance(value, torch.Tensor) else torch.full_like(like, value, dtype=kind)
            for value in (a, b)
        ]
        made: torch.Tensor = aten.where.self(condition, *sides)
        return made

    return dict.fromkeys((aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar), where)


promote_where_scalars = DecomposeOps("promote_where_scalars", where_scalars)
