"""Graph fix: ops that coremltools does not know, though PyTorch can spell them out in ops that it does.

Symptom: coremltools refuses a torch.export program with "Unsupported fx node celu, kind celu" (hypot, logaddexp,
expm1, ... the same).
Cause: coremltools 9.0 converts some 450 ops one by one and asks PyTorch for the decomposition of none.
Retired by: a coremltools that decomposes what it has no conversion for (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from export.spell_out import plain_arithmetic
from export.targets.coreml.fix_where import numbers

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# What a decomposition is made of may be unknown too.
ROUNDS = 4


def spell_out_unknown(exported: ExportedProgram) -> ExportedProgram:
    """The program with every op that coremltools has no conversion for decomposed, where there is a way to.

    What is left unknown is for coremltools to refuse by its name.
    """
    for _ in range(ROUNDS):
        table = decompositions(unknown(exported))
        if not table:
            break
        exported = exported.run_decompositions(table | numbers())
    return exported


def unknown(exported: ExportedProgram) -> list[Any]:
    """The ops of the program that coremltools has no conversion for."""
    import torch

    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY
    targets = {node.target: None for node in exported.graph_module.graph.nodes if node.op == "call_function"}
    return [
        target
        for target in targets
        if isinstance(target, torch._ops.OpOverload) and registry.get_func(target.name()) is None
    ]


def decompositions(targets: list[Any]) -> dict[Any, Callable[..., Any]]:
    """How to spell the ops out: our way, PyTorch's, or that of its composite ops; nothing for those with no way."""
    import torch

    composite = torch.export.default_decompositions().materialize()
    table: dict[Any, Callable[..., Any]] = import_module("torch._decomp").get_decompositions(targets)
    table |= {target: composite[target] for target in targets if target not in table and target in composite}
    ours = plain_arithmetic()
    return table | {target: ours[target] for target in targets if target in ours}
