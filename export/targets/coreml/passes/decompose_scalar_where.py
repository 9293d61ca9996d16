"""Decompose `aten.where` of scalar tensors into one of vectors with one element.

Before: where(c, a, b)                        all of shape []
After:  where(c[None], a[None], b[None])[0]

Symptom: "Concat concat_5 got 0 values".
Cause: coremltools 9.0 broadcasts the operands to the shape of the result, which it concatenates from its axes.
Retired by: a coremltools that broadcasts to shape [] (tests/export/test_cond.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def decompose_scalar_where(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Compute each `aten.where.self` of shape [] on an axis of size 1."""
    import torch

    aten, graph, modified = torch.ops.aten, program.graph_module.graph, False
    for node in list(graph.nodes):
        if node.target is not aten.where.self or node.meta["val"].ndim:
            continue
        with graph.inserting_before(node):
            operands = []
            for source in node.args:
                operand = graph.call_function(aten.unsqueeze.default, (source, 0))
                operand.meta["val"] = source.meta["val"].unsqueeze(0)
                operands.append(operand)
            vector = graph.call_function(aten.where.self, tuple(operands))
            vector.meta["val"] = node.meta["val"].unsqueeze(0)
            scalar = graph.call_function(aten.select.int, (vector, 0, 0))
        scalar.meta = {**node.meta}
        node.replace_all_uses_with(scalar)
        for spec in program.graph_signature.output_specs:
            if spec.arg.name == node.name:
                spec.arg.name = scalar.name
        graph.erase_node(node)
        modified = True
    if modified:
        program.graph_module.recompile()
    return PassResult(program, modified)
