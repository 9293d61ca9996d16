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

from export.passes.decompose import uncommon_ops
from export.passes.decompose.attention import scaled_sums
from export.passes.decompose.dynamic_conv import computed_kernels
from export.passes.decompose.spell_out import Table, adaptive_max_pools, plain_arithmetic, rewritten, unchanged, writes

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# Axes of a tensor that TFLite's power takes.
POW_AXES = 4


def spelled(exported: ExportedProgram) -> ExportedProgram:
    """The program with these ops in terms of others; the program itself where it has none of them."""
    import torch

    aten = torch.ops.aten
    table = {aten.hypot.default: plain_arithmetic()[aten.hypot.default]}
    table[aten.exp2.default] = lambda x: torch.exp(x * math.log(2.0))
    table |= adaptive_max_pools(exported)
    table[aten.index_put.default] = writes()[aten.index_put.default]
    table |= uncommon_ops(exported) | {aten.div.Tensor_mode: rounded_div} | scaled_sums(exported)
    table |= {aten.einsum.default: sorted_einsum} | high_powers(exported) | computed_kernels(exported)
    named = {*table, aten.index_put_.default}
    if not any(node.target in named for node in exported.graph_module.graph.nodes):
        return exported
    return rewritten(exported, table)


def high_powers(exported: ExportedProgram) -> Table:
    """Squares of tensors of more than four axes, which "failed to legalize operation 'tfl.pow'"; nothing without."""
    import torch

    target = torch.ops.aten.pow.Tensor_Scalar

    def power(x: torch.Tensor, exponent: float) -> Any:
        return x * x if exponent == 2 and x.ndim > POW_AXES else unchanged()

    nodes = [node for node in exported.graph_module.graph.nodes if node.target is target]
    return {target: power} if any(node.args[0].meta["val"].ndim > POW_AXES for node in nodes) else {}


def sorted_einsum(equation: str, operands: list[torch.Tensor], *, path: list[int] | None = None) -> Any:
    """The axes that two operands share in one order.

    "bchw,wc->bh" comes out wrong, without a word: the converter pairs the axes that are summed as they lie.
    """
    import torch

    spelled = uncommon_ops()[torch.ops.aten.einsum.default](equation, operands, path=path)
    terms, _, made = equation.replace(" ", "").partition("->")
    first, _, second = terms.partition(",")
    shared = [letter for letter in second if letter in first]
    if spelled is not NotImplemented or shared == sorted(shared, key=first.index):
        return spelled
    order = sorted(range(len(second)), key=lambda axis: first.find(second[axis]))
    turned = "".join(second[axis] for axis in order)
    return torch.einsum(f"{first},{turned}->{made}", [operands[0], operands[1].permute(order)])


def rounded_div(x: torch.Tensor, y: torch.Tensor, *, rounding_mode: str | None = None) -> Any:
    """Quotients rounded down; others stay."""
    import torch

    if rounding_mode != "floor" or not (x.is_floating_point() or y.is_floating_point()):
        return unchanged()
    return torch.floor(x / y)
