"""Decompose products with a subnormal number, below float32's normal range.

Before: mul(x, 1e-38)
After:  div(mul(x, 1e-38 * 2**64), 2**64)

Symptom: `clamp(x, max=finfo.max) * 1e-38` is 0 in LiteRT and TF.js files, where PyTorch returns 3.4.
Cause: XNNPACK, which both runtimes use, takes subnormal operands for 0.
Retired by: an XNNPACK that keeps them (tests/export/test_masks.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The smallest normal float32.
NORMAL = 2.0**-126
FACTOR = 2.0**64


def products(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.mul` by a subnormal number. Empty where the program has no such product."""
    import torch

    target = torch.ops.aten.mul.Tensor

    def multiply(x: torch.Tensor, other: Any) -> Any:
        if not is_subnormal(other) or x.dtype != torch.float32:
            return KEEP_OP
        return (x * (other * FACTOR)) / FACTOR

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    return {target: multiply} if any(is_subnormal(node.args[1]) for node in nodes) else {}


def is_subnormal(value: Any) -> bool:
    """Return whether `value` is a number that float32 holds as a subnormal one."""
    return isinstance(value, float) and 0 < abs(value) < NORMAL
