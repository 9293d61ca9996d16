"""Graph fix: affine grids (spatial transformers).

Symptom: `F.grid_sample(x, F.affine_grid(theta, ...))` converts to MIL's `affine` with align_corners=False, which the
op's own documentation calls not supported; other padding and sampling modes are refused.
Cause: coremltools 9.0 joins the two functions into `affine` and never makes the grid, which `resample` could read.
Retired by: a coremltools that converts `affine_grid_generator` by itself (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from export.passes.decompose.table import DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def affine_grid(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.affine_grid_generator` into products and sums, as PyTorch does it."""
    import torch

    target = torch.ops.aten.affine_grid_generator.default
    table: DecompositionTable = import_module("torch._decomp").get_decompositions([target])
    return table


decompose_affine_grid = DecomposeOps("decompose_affine_grid", affine_grid)
