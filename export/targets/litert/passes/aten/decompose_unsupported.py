"""Decompose the ATen ops that litert-torch refuses or lowers wrongly.

Before: hypot(x, y); exp2(x); add(x, y, alpha=3); x[x < 0.4] = 0.4
After:  sqrt(x * x + y * y); exp(x * ln 2); x + y * 3; where(x < 0.4, 0.4, x)

Symptom: "Lowering not found" for `aten.exp2`, `aten.hypot`, and adaptive max pools whose output size does not divide
the input size; NonConcreteBooleanIndexError for a scalar that is written under a mask (`x[x < 0.4] = 0.4`); "failed to
legalize mhlo.round_nearest_afz" for divisions rounded down; "failed to legalize 'tfl.batch_matmul'" for integers;
"unexpected keyword argument 'alpha'" for `aten.add` and `aten.sub` with alpha.
Cause: litert-torch has no lowering of these ops, and PyTorch's table of core decompositions leaves them as they are. It
lowers a masked write through JAX's indexing, which needs the number of elements that the mask selects.
Retired by: a litert-torch that lowers them (seen in 0.10.0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.base import PassResult
from export.passes.decompose import (
    conv_transpose,
    dynamic_conv,
    einsum,
    elementwise,
    integer_products,
    pooling,
    scatter,
)
from export.passes.decompose.table import KEEP_OP, DecomposeOps, DecompositionTable, only
from export.passes.pipelines import RARE_OPS

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The highest rank that TFLite's POW takes.
POW_MAX_RANK = 4


def exp2(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.exp2`."""
    import torch

    return {torch.ops.aten.exp2.default: lambda x: torch.exp(x * math.log(2.0))}


def einsum_in_shared_order(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.einsum` so that both operands have their common axes in the same order.

    Otherwise "bchw,wc->bh" gives wrong values without an error: the converter pairs the summed axes in the order in
    which each operand has them.
    """
    import torch

    target = torch.ops.aten.einsum.default
    shared = einsum.decompositions(program)[target]
    of_integers = integer_products.decompositions(program).get(target)

    def sorted_einsum(equation: str, operands: list[torch.Tensor], *, path: list[int] | None = None) -> Any:
        if of_integers and not any(operand.is_floating_point() for operand in operands):
            return of_integers(equation, operands)
        decomposed = shared(equation, operands, path=path)
        terms, _, output = equation.replace(" ", "").partition("->")
        first, _, second = terms.partition(",")
        common = [letter for letter in second if letter in first]
        if decomposed is not KEEP_OP or common == sorted(common, key=first.index):
            return decomposed
        order = sorted(range(len(second)), key=lambda axis: first.find(second[axis]))
        permuted = "".join(second[axis] for axis in order)
        return torch.einsum(f"{first},{permuted}->{output}", [operands[0], operands[1].permute(order)])

    return {target: sorted_einsum}


def powers(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.pow(x, 2)` of rank 5 and more, and powers of integers, into products.

    Both "failed to legalize operation 'tfl.pow'". The table is empty for a program without them.
    """
    import torch

    target = torch.ops.aten.pow.Tensor_Scalar
    table = only(integer_products.decompositions, "pow.Tensor_Scalar", "square.default")(program)
    of_integers = table.get(target)

    def power(x: torch.Tensor, exponent: float) -> Any:
        if exponent == 2 and x.ndim > POW_MAX_RANK:
            return x * x
        return of_integers(x, exponent) if of_integers else KEEP_OP

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    high_rank = any(node.args[0].meta["val"].ndim > POW_MAX_RANK for node in nodes)
    return {**table, target: power} if high_rank or of_integers else {}


def rows(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.conv1d` with padding "same", and `aten.conv_transpose1d` that TRANSPOSE_CONV cannot express."""
    import torch
    from torch.nn import functional as F

    target = torch.ops.aten.conv1d.padding

    def conv1d(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> torch.Tensor:
        defaults: list[Any] = [None, [1], "valid", [1], 1]
        bias, stride, padding, dilation, groups = [*more, *defaults[len(more) :]]
        total = dilation[0] * (weight.shape[2] - 1) if padding == "same" else 0
        # An even kernel has one more element of padding at the end.
        x = F.pad(x, (0, total % 2)) if total % 2 else x
        return F.conv1d(x, weight, bias, stride, total // 2, dilation, groups)

    nodes = program.graph_module.graph.nodes
    table: DecompositionTable = {target: conv1d} if any(node.target is target for node in nodes) else {}
    return table | conv_transpose.crop_paddings(program, "conv_transpose1d.default", is_inexpressible, dilates=False)


def flip_axes(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.flip` over several axes into one flip per axis: REVERSE_V2 takes adjacent axes alone.

    Empty where no flip has axes that are not adjacent.
    """
    import torch

    target = torch.ops.aten.flip.default

    def flip(x: torch.Tensor, dims: list[int]) -> Any:
        if not has_gap(dims, x.ndim):
            return KEEP_OP
        for axis in dims:
            x = torch.flip(x, [axis])
        return x

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    gaps = any(has_gap(node.args[1], node.args[0].meta["val"].ndim) for node in nodes)
    return {target: flip} if gaps else {}


def has_gap(dims: list[int], rank: int) -> bool:
    """Return whether the axes are not adjacent."""
    axes = [dim % rank for dim in dims]
    return bool(axes) and max(axes) - min(axes) + 1 > len(axes)


def is_inexpressible(axis: conv_transpose.Axis) -> bool:
    """Return whether a transposed convolution is dilated, or its padding is neither VALID nor SAME in TFLite."""
    same = 2 * axis.padding == axis.extent - axis.stride and axis.output_padding == 0
    return axis.stride > 1 and (axis.dilation > 1 or (axis.padding > 0 and not same))


DECOMPOSE = DecomposeOps(
    "decompose_unsupported",
    only(elementwise.arithmetic, "hypot.default"),
    pooling.adaptive_max_pool,
    only(scatter.slice_writes, "index_put.default"),
    *RARE_OPS,
    exp2,
    rows,
    flip_axes,
    pooling.unbatched_pool,
    pooling.one_sided_ceil,
    elementwise.add_alpha,
    einsum_in_shared_order,
    only(integer_products.decompositions, "matmul.default", "mm.default", "bmm.default"),
    powers,
    dynamic_conv.decompositions,
)


def decompose_unsupported(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose the ops of `DECOMPOSE`, where the program has one of them.

    A program without them is left as it is, to be converted from the PyTorch module, whose tensor names are better.
    In-place ops alone are no reason to decompose, but masked writes (`aten.index_put_`) are.
    """
    import torch

    table = DECOMPOSE.table(program)
    ops = {*table, torch.ops.aten.index_put_.default}
    if not any(node.target in ops for node in program.graph_module.graph.nodes):
        return PassResult(program, False)
    return DECOMPOSE(program)
