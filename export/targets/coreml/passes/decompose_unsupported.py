"""Decompose every op that coremltools does not convert and that can be decomposed into ops that it does.

Before: aten.celu(x), aten.hypot(x, y), aten.logaddexp(x, y), aten.expm1(x), ...
After:  the decomposition of this package, of PyTorch's table, or of PyTorch's composite ops, in this order

Symptom: coremltools refuses the program with "Unsupported fx node celu, kind celu".
Cause: coremltools 9.0 converts some 450 ops one by one, and asks PyTorch for the decomposition of none.
Retired by: a coremltools that decomposes ops that it does not convert (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult
from export.passes.decompose.elementwise import arithmetic, inverse_hyperbolic
from export.passes.decompose.reduce import prod_by_halves
from export.passes.decompose.table import DecompositionTable
from export.targets.coreml.passes.promote_where_scalars import where_scalars

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# The ops of a decomposition may be unsupported too.
MAX_ROUNDS = 4


def decompose_unsupported(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose the unsupported ops. An op without a decomposition stays, and coremltools names it in its error."""
    modified = False
    for _ in range(MAX_ROUNDS):
        table = decompositions(program, unsupported_ops(program))
        if not table:
            break
        # Decompositions may write `aten.where` with numbers.
        program, modified = program.run_decompositions(table | where_scalars(program)), True
    return PassResult(program, modified)


def unsupported_ops(program: ExportedProgram) -> list[Any]:
    """Return the ops of the program without a conversion in coremltools, or with one that fails."""
    import torch

    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY
    broken = failing_conversions(program)
    targets = {node.target: None for node in program.graph_module.graph.nodes if node.op == "call_function"}
    return [
        target
        for target in targets
        if isinstance(target, torch._ops.OpOverload) and (registry.get_func(target.name()) is None or target in broken)
    ]


def failing_conversions(program: ExportedProgram) -> DecompositionTable:
    """Return decompositions of ops whose registered conversion in coremltools fails.

    asinh and acosh fail with "type object 'Builder' has no attribute 'asinh'". PyTorch decomposes prod into an op that
    coremltools does not convert either.
    """
    return inverse_hyperbolic(program) | prod_by_halves(program)


def decompositions(program: ExportedProgram, targets: list[Any]) -> DecompositionTable:
    """Return the decompositions of the `targets` that have one. This package's decompositions win over PyTorch's."""
    import torch

    composite = torch.export.default_decompositions().materialize()
    table: DecompositionTable = import_module("torch._decomp").get_decompositions(targets)
    table |= {target: composite[target] for target in targets if target not in table and target in composite}
    preferred = arithmetic(program) | failing_conversions(program)
    return table | {target: preferred[target] for target in targets if target in preferred}
