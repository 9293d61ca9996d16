"""Graph fix: ops that coremltools does not know, though PyTorch can spell them out in ops that it does.

Symptom: coremltools refuses a torch.export program with "Unsupported fx node celu, kind celu" (hypot, logaddexp,
expm1, ... the same).
Cause: coremltools 9.0 converts some 450 ops one by one and asks PyTorch for the decomposition of none.
Retired by: a coremltools that decomposes what it has no conversion for (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult
from export.passes.decompose.elementwise import arithmetic
from export.passes.decompose.table import DecompositionTable
from export.targets.coreml.passes.promote_where_scalars import where_scalars

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# What a decomposition is made of may be unknown too.
ROUNDS = 4


def decompose_unsupported(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """The program with every op that coremltools has no conversion for decomposed, where there is a way to.

    What is left unknown is for coremltools to refuse by its name.
    """
    modified = False
    for _ in range(ROUNDS):
        table = decompositions(program, unknown(program))
        if not table:
            break
        # Decompositions select between tensors and numbers, too.
        program, modified = program.run_decompositions(table | where_scalars(program)), True
    return PassResult(program, modified)


def unknown(program: ExportedProgram) -> list[Any]:
    """The ops of the program that coremltools has no conversion for, or one that does not work."""
    import torch

    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY
    targets = {node.target: None for node in program.graph_module.graph.nodes if node.op == "call_function"}
    return [
        target
        for target in targets
        if isinstance(target, torch._ops.OpOverload) and (registry.get_func(target.name()) is None or target in own())
    ]


def own() -> DecompositionTable:
    """Ops that PyTorch spells out in what coremltools does not know either (prod), or that it takes for known, and
    then fails with "type object 'Builder' has no attribute 'asinh'" (asinh, acosh)."""
    import torch

    aten = torch.ops.aten

    def asinh(x: torch.Tensor) -> torch.Tensor:
        size = torch.abs(x)
        return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1))

    def prod(x: torch.Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        x = x if dtype is None else x.to(dtype)
        while (size := x.shape[dim]) > 1:
            half = size // 2
            rest = [x.narrow(dim, 2 * half, 1)] if size % 2 else []
            x = torch.cat([x.narrow(dim, 0, half) * x.narrow(dim, half, half), *rest], dim)
        return x if keepdim else x.squeeze(dim)

    return {
        aten.asinh.default: asinh,
        aten.acosh.default: lambda x: torch.log(x + torch.sqrt(x * x - 1)),
        aten.prod.dim_int: prod,
    }


def decompositions(program: ExportedProgram, targets: list[Any]) -> DecompositionTable:
    """How to spell the ops out: our way, PyTorch's, or that of its composite ops; nothing for those with no way."""
    import torch

    composite = torch.export.default_decompositions().materialize()
    table: DecompositionTable = import_module("torch._decomp").get_decompositions(targets)
    table |= {target: composite[target] for target in targets if target not in table and target in composite}
    ours = arithmetic(program) | own()
    return table | {target: ours[target] for target in targets if target in ours}
