"""Symptom: "Lowering not found" for exp2, hypot and adaptive max pools of sizes that do not divide the input's;
NonConcreteBooleanIndexError for a number written where a mask is true (`x[x < 0.4] = 0.4`); "failed to legalize
mhlo.round_nearest_afz" for divisions rounded down; "unexpected keyword argument 'alpha'" for sums with a factor.
Cause: litert-torch has no lowering of them, and PyTorch's table of core decompositions leaves them as they are; it
lowers a masked write through JAX's indexing, which wants to know how many places the mask has.
Retired by: a litert-torch that lowers them (seen in 0.10.0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult
from export.passes.decompose import dynamic_conv, einsum, elementwise, pooling, scatter
from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable, only
from export.passes.pipelines import RARE_OPS

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# Axes of a tensor that TFLite's power takes.
POW_AXES = 4


def exp2_and_floor_division(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.exp2` and `aten.div` with rounding_mode="floor"."""
    import torch

    aten = torch.ops.aten
    return {aten.exp2.default: lambda x: torch.exp(x * math.log(2.0)), aten.div.Tensor_mode: floor_div}


def einsum_in_shared_order(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.einsum` so that both operands have their common axes in one order.

    "bchw,wc->bh" comes out wrong without an error: the converter pairs the axes that are summed as they lie.
    """
    import torch

    target = torch.ops.aten.einsum.default
    rare = einsum.decompositions(program)[target]

    def sorted_einsum(equation: str, operands: list[torch.Tensor], *, path: list[int] | None = None) -> Any:
        decomposed = rare(equation, operands, path=path)
        terms, _, output = equation.replace(" ", "").partition("->")
        first, _, second = terms.partition(",")
        shared = [letter for letter in second if letter in first]
        if decomposed is not KEEP_OP or shared == sorted(shared, key=first.index):
            return decomposed
        order = sorted(range(len(second)), key=lambda axis: first.find(second[axis]))
        turned = "".join(second[axis] for axis in order)
        return torch.einsum(f"{first},{turned}->{output}", [operands[0], operands[1].permute(order)])

    return {target: sorted_einsum}


def high_rank_squares(program: ExportedProgram) -> DecompositionTable:
    """Squares of tensors of more than four axes, which "failed to legalize operation 'tfl.pow'"; nothing without."""
    import torch

    target = torch.ops.aten.pow.Tensor_Scalar

    def power(x: torch.Tensor, exponent: float) -> Any:
        return x * x if exponent == 2 and x.ndim > POW_AXES else KEEP_OP

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    return {target: power} if any(node.args[0].meta["val"].ndim > POW_AXES for node in nodes) else {}


def floor_div(x: torch.Tensor, y: torch.Tensor, *, rounding_mode: str | None = None) -> Any:
    """Quotients rounded down; others stay."""
    import torch

    if rounding_mode != "floor" or not (x.is_floating_point() or y.is_floating_point()):
        return KEEP_OP
    return torch.floor(x / y)


DECOMPOSE = DecomposeOps(
    "decompose_unsupported",
    only(elementwise.arithmetic, "hypot.default"),
    pooling.adaptive_max_pool,
    only(scatter.slice_writes, "index_put.default"),
    *RARE_OPS,
    exp2_and_floor_division,
    elementwise.add_alpha,
    einsum_in_shared_order,
    high_rank_squares,
    dynamic_conv.decompositions,
)


def decompose_unsupported(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose ops that litert-torch has no lowering of, or lowers wrongly.

    Only where the program has one of them: a program without them is converted from the PyTorch module, whose names are
    better. In-place ops alone are no reason, but masked writes (`aten.index_put_`) are.
    """
    import torch

    table = DECOMPOSE.table(program)
    ops = {*table, torch.ops.aten.index_put_.default}
    if not any(node.target in ops for node in program.graph_module.graph.nodes):
        return PassResult(program, False)
    return DECOMPOSE(program)
