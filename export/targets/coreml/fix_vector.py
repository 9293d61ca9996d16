"""Graph fix: products with a vector.

Symptom: `x @ v` with a v of one axis fails with "IndexError: list index out of range", and names nothing.
Cause: coremltools 9.0 takes the last two axes of both operands of `aten.matmul`.
Retired by: a coremltools that gives a vector its second axis (tests/export/test_coreml_fixes.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.spell_out import rewritten, unchanged

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def spell_out_vector_products(exported: ExportedProgram) -> ExportedProgram:
    """The program with vectors as matrices of one column, or row."""
    import torch

    def matmul(a: torch.Tensor, b: torch.Tensor) -> Any:
        if b.ndim == 1 and a.ndim > 1:
            return (a @ b.unsqueeze(1)).squeeze(-1)
        if a.ndim == 1 and b.ndim > 1:
            return (a.unsqueeze(0) @ b).squeeze(-2)
        return unchanged()

    target = torch.ops.aten.matmul.default
    products = [node for node in exported.graph_module.graph.nodes if node.target is target]
    if not any(side.meta["val"].ndim == 1 for node in products for side in node.all_input_nodes):
        return exported
    return rewritten(exported, {target: matmul})
