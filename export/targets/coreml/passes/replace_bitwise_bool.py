"""Graph fix: `&`, `|` and `^` of boolean tensors.

Symptom: coremltools refuses a torch.export program with "Unsupported fx node and_1, kind __and__".
Cause: coremltools 9.0's export path knows the logical ops alone, and `bitwise_and` of the bitwise ones.
Retired by: a coremltools that converts `__and__`, `__or__`, `__xor__`, `bitwise_or` and `bitwise_xor` of booleans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LOGICAL = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}


def replace_bitwise_bool(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Turn bitwise ops whose result is boolean into logical ones, in place. Whole numbers keep theirs."""
    import torch

    aten = torch.ops.aten
    swaps = {
        getattr(aten, name).Tensor: getattr(aten, logical).default
        for short, logical in LOGICAL.items()
        for name in (f"__{short}__", f"bitwise_{short}")
    }
    modified = False
    for node in program.graph_module.graph.nodes:
        value = node.meta.get("val")
        if node.target in swaps and isinstance(value, torch.Tensor) and value.dtype == torch.bool:
            node.target = swaps[node.target]
            modified = True
    return PassResult(program, modified)
