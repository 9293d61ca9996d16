"""Decompose `aten.log_softmax` into differences from the largest element.

Before: log_softmax(x, dim)
After:  y - log(sum(exp(y), dim)) with y = x - amax(x, dim)

Symptom: elements more than about 100 below the largest one are wrong: -103 for -400.
Cause: coremltools 9.0 computes log(softmax(x)), and the softmax underflows to 0.
Retired by: a coremltools that takes the logarithm of the sum (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def log_softmax(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.log_softmax` and `aten._log_softmax`."""
    import torch

    def differences(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        x = x.to(dtype) if isinstance(dtype, torch.dtype) else x
        if not x.ndim:
            return x * 0
        y = x - x.amax(dim, keepdim=True)
        return y - torch.log(torch.exp(y).sum(dim, keepdim=True))

    aten = torch.ops.aten
    return {aten.log_softmax.int: differences, aten._log_softmax.default: differences}


decompose_log_softmax = DecomposeOps("decompose_log_softmax", log_softmax)
