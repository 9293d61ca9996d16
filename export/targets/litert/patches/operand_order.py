"""Keep constants from being the first operand of `aten.sub` and `aten.div`, whose operands litert-converter swaps.

Before: sub(c, x); div(c, x); reciprocal(x)
After:  add(neg(x), c); div(minimum(maximum(x, c), c), x); div(clamp(x, 1, 1), x)

Symptom: `1 - x` comes out as `x - 1` and `1 / x` as `x / 1`, without an error, where only transposes lie between the op
and an input or output of rank 4 (an inverted matte, depth from disparity).
Cause: litert-converter moves transposes past elementwise operators and writes the operand that is not constant first,
also for operators that do not commute. The numerator `min(max(x, c), c)` is the constant again, and NaN where x is NaN.
Retired by: a litert-converter that keeps the order of operands (seen in 0.5.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from export.passes.dataflow import computed_from

if TYPE_CHECKING:
    from torch import fx


@contextmanager
def keep_operand_order(inputs: int) -> Iterator[None]:
    """Replace litert-torch's lowerings of these ops, for graphs with `inputs` inputs."""
    import torch

    registry = import_module("litert_torch.backend.lowerings").registry.global_registry
    aten = torch.ops.aten
    lowerings = {op: registry.lookup(op) for op in (aten.sub.Tensor, aten.div.Tensor, aten.reciprocal.default)}

    def lower(context: Any, op: Any, *operands: Any) -> Any:
        return registry.lookup(op)(context, *operands)

    def sub(context: Any, a: Any, b: Any) -> Any:
        if not is_constant_first(context.node, inputs):
            return lowerings[aten.sub.Tensor](context, a, b)
        return lower(context, aten.add.Tensor, lower(context, aten.neg.default, b), a)

    def div(context: Any, a: Any, b: Any) -> Any:
        if not is_constant_first(context.node, inputs):
            return lowerings[aten.div.Tensor](context, a, b)
        at_least = lower(context, aten.maximum.default, b, a)
        return lowerings[aten.div.Tensor](context, lower(context, aten.minimum.default, at_least, a), b)

    def reciprocal(context: Any, x: Any) -> Any:
        return lowerings[aten.div.Tensor](context, lower(context, aten.clamp.default, x, 1.0, 1.0), x)

    registry.registered_ops |= {aten.sub.Tensor: sub, aten.div.Tensor: div, aten.reciprocal.default: reciprocal}
    try:
        yield
    finally:
        registry.registered_ops |= lowerings


def is_constant_first(node: fx.Node, inputs: int) -> bool:
    """Return whether the node's first operand depends on no input of the graph, and its second operand does."""
    placeholders = [each for each in node.graph.nodes if each.op == "placeholder"]
    # The placeholders of weights come before the placeholders of inputs.
    computed = computed_from(placeholders[-inputs:], node.graph)
    return node.args[0] not in computed and node.args[1] in computed
