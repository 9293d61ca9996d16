"""Symptom: `1 - x` comes out as `x - 1` and `1 / x` as `x / 1`, without a word, where nothing but transposes lies
between it and an input or output of four axes (a matte turned round, depth from disparity).
Cause: the converter moves transposes past element-wise operators, and writes the operand that is no constant first; it
does so for the operators that do not commute, too.
Instead: `-x + c`, and `min(max(x, c), c) / x`, whose numerator is the constant again (not a number where x is not).
Retired by: a converter that keeps their order (seen in litert-converter 0.5.0; tests/export/test_uncommon.py).
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
def kept_second(inputs: int) -> Iterator[None]:
    """Have the converter write no constant before a variable, while this lasts, in graphs of so many inputs."""
    import torch

    registry = import_module("litert_torch.backend.lowerings").registry.global_registry
    aten = torch.ops.aten
    vendors = {op: registry.lookup(op) for op in (aten.sub.Tensor, aten.div.Tensor, aten.reciprocal.default)}

    def lowered(context: Any, op: Any, *operands: Any) -> Any:
        return registry.lookup(op)(context, *operands)

    def sub(context: Any, a: Any, b: Any) -> Any:
        if not constant_first(context.node, inputs):
            return vendors[aten.sub.Tensor](context, a, b)
        return lowered(context, aten.add.Tensor, lowered(context, aten.neg.default, b), a)

    def div(context: Any, a: Any, b: Any) -> Any:
        if not constant_first(context.node, inputs):
            return vendors[aten.div.Tensor](context, a, b)
        above = lowered(context, aten.maximum.default, b, a)
        return vendors[aten.div.Tensor](context, lowered(context, aten.minimum.default, above, a), b)

    def reciprocal(context: Any, x: Any) -> Any:
        return vendors[aten.div.Tensor](context, lowered(context, aten.clamp.default, x, 1.0, 1.0), x)

    registry.registered_ops |= {aten.sub.Tensor: sub, aten.div.Tensor: div, aten.reciprocal.default: reciprocal}
    try:
        yield
    finally:
        registry.registered_ops |= vendors


def constant_first(node: fx.Node, inputs: int) -> bool:
    """Whether the first operand depends on none of the graph's inputs, and the second does."""
    placeholders = [each for each in node.graph.nodes if each.op == "placeholder"]
    # Weights come first.
    computed = computed_from(placeholders[-inputs:], node.graph)
    return node.args[0] not in computed and node.args[1] in computed
