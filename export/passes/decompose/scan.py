"""Decompose running reductions along an axis into log2(n) steps with shifted copies (Hillis and Steele 1986).

Symptom: "No decompositions registered" for `aten.cummax`, `aten.cummin` and `aten.logcumsumexp`, on every target.
Cause: no format has these ops, and PyTorch has no decomposition of them.
Retired by: nothing known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.cummax`, `aten.cummin` and `aten.logcumsumexp`. NaN is not carried on."""
    import torch

    def extreme(better: Any) -> Any:
        """Return the decomposition of a running extreme: of equal elements, the last one has the index."""

        def scan(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
            if x.ndim == 0:
                return x.clone(), torch.zeros([], dtype=torch.int64)
            size, shift = x.shape[dim], 1
            shape = [size if axis == dim % x.ndim else 1 for axis in range(x.ndim)]
            # Floats hold an index exactly, and every format selects and joins them.
            index = torch.arange(size, dtype=torch.float32).reshape(shape).expand(x.shape)
            while shift < size:
                first, rest = x.narrow(dim, 0, shift), x.narrow(dim, shift, size - shift)
                before = x.narrow(dim, 0, size - shift)
                replaced = better(before, rest)
                own, other = index.narrow(dim, shift, size - shift), index.narrow(dim, 0, size - shift)
                index = torch.cat([index.narrow(dim, 0, shift), torch.where(replaced, other, own)], dim)
                x = torch.cat([first, torch.where(replaced, before, rest)], dim)
                shift *= 2
            return x, index.to(torch.int64)

        return scan

    def logcumsumexp(x: Tensor, dim: int) -> Tensor:
        if x.ndim == 0:
            return x.clone()
        size, shift = x.shape[dim], 1
        while shift < size:
            first, rest = x.narrow(dim, 0, shift), x.narrow(dim, shift, size - shift)
            x = torch.cat([first, log_of_sum(x.narrow(dim, 0, size - shift), rest)], dim)
            shift *= 2
        return x

    def log_of_sum(x: Tensor, y: Tensor) -> Tensor:
        """Return log(exp(x) + exp(y)). Where both are -inf, their difference would be NaN."""
        top = torch.maximum(x, y)
        gap = torch.where(top == -math.inf, torch.zeros_like(top), torch.minimum(x, y) - top)
        return top + torch.log(1 + torch.exp(gap))

    aten = torch.ops.aten
    return {
        aten.cummax.default: extreme(torch.gt),
        aten.cummin.default: extreme(torch.lt),
        aten.logcumsumexp.default: logcumsumexp,
    }
