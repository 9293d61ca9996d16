"""Decompose `aten.affine_grid_generator` (spatial transformers).

Before: aten.affine_grid_generator(theta [N, 2, 3], size, align_corners)
After:  PyTorch's own decomposition: a constant base grid, multiplied by theta and summed  [N, H, W, 2]

Symptom: `F.grid_sample(x, F.affine_grid(theta, ...))` converts to MIL's `affine` with align_corners=False, which the
documentation of `affine` calls not supported. Other padding modes and sampling modes are refused. A constant theta
fails with "Torch var 0 not found in context".
Cause: coremltools 9.0 fuses the two functions into `affine` and never computes the grid, which `resample` could read.
Retired by: a coremltools that converts `affine_grid_generator` by itself (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from export.passes.decompose.table import DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def affine_grid(program: ExportedProgram) -> DecompositionTable:
    """Return PyTorch's decomposition of `aten.affine_grid_generator` into products and sums."""
    import torch

    target = torch.ops.aten.affine_grid_generator.default
    table: DecompositionTable = import_module("torch._decomp").get_decompositions([target])
    return table


decompose_affine_grid = DecomposeOps("decompose_affine_grid", affine_grid)
