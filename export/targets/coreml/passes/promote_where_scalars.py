"""Promote the numbers of `aten.where` to tensors of the result's dtype.

Before: aten.where.ScalarSelf(mask, 0, x), aten.where.ScalarOther(mask, x, 0), aten.where.Scalar(mask, 1.0, 0.0)
After:  aten.where.self(mask, aten.full_like(x, 0), x), ...

Symptom: `torch.where(x > 0, 0, x)` and nn.Hardshrink fail with "the named input `b` must have the same data type as
the named input `a`", `torch.where(x > 0, x, 0)` with "Unsupported fx node where".
Cause: coremltools 9.0 gives a number the dtype that it is written in, and converts only `where.self` and
`where.ScalarSelf`.
Retired by: a coremltools that promotes numbers to the tensor's dtype (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.table import DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def where_scalars(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.where` with numbers into `aten.where.self`.

    For any program: decompositions of other ops may write `aten.where` with numbers too.
    """
    import torch

    aten = torch.ops.aten

    def where(condition: torch.Tensor, a: torch.Tensor | float, b: torch.Tensor | float) -> torch.Tensor:
        dtype = torch.result_type(a, b)
        like = next((value for value in (a, b) if isinstance(value, torch.Tensor)), condition)
        operands = [
            value.to(dtype) if isinstance(value, torch.Tensor) else torch.full_like(like, value, dtype=dtype)
            for value in (a, b)
        ]
        result: torch.Tensor = aten.where.self(condition, *operands)
        return result

    return dict.fromkeys((aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar), where)


promote_where_scalars = DecomposeOps("promote_where_scalars", where_scalars)
