"""Replace `&`, `|` and `^` of boolean tensors by logical ops.

Before: aten.__and__(a, b), aten.bitwise_or(a, b), aten.__xor__(a, b), ...         a, b: bool
After:  aten.logical_and(a, b), aten.logical_or(a, b), aten.logical_xor(a, b), ...

Symptom: coremltools refuses the program with "Unsupported fx node and_1, kind __and__".
Cause: on its torch.export path coremltools 9.0 converts the logical ops, and of the bitwise ops `bitwise_and` alone.
Retired by: a coremltools that converts `__and__`, `__or__`, `__xor__`, `bitwise_or` and `bitwise_xor` of booleans
(apple/coremltools#2668 and #2816, both merged after 9.0; tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LOGICAL = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}


def replace_bitwise_bool(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace bitwise ops whose result is boolean by logical ops. Bitwise ops of integers stay."""
    import torch

    aten = torch.ops.aten
    replacements = {
        getattr(aten, bitwise).Tensor: getattr(aten, logical).default
        for name, logical in LOGICAL.items()
        for bitwise in (f"__{name}__", f"bitwise_{name}")
    }
    modified = False
    for node in program.graph_module.graph.nodes:
        value = node.meta.get("val")
        if node.target in replacements and isinstance(value, torch.Tensor) and value.dtype == torch.bool:
            node.target = replacements[node.target]
            modified = True
    if modified:
        program.graph_module.recompile()
    return PassResult(program, modified)
