"""Give inputs of shape [] an axis of size 1: the file's input has shape [1].

Before: x: placeholder of shape []
After:  x: placeholder of shape [1], read through select(x, 0, 0)

Symptom: "Rank-0 (input None) is unsupported".
Cause: an MLMultiArray has at least one axis.
Retired by: nothing (tests/export/test_border.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def insert_scalar_axis(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Change the inputs of the user whose shape is []."""
    import torch

    graph, modified = program.graph_module.graph, False
    inputs = set(program.graph_signature.user_inputs)
    for node in [node for node in graph.nodes if node.op == "placeholder" and node.name in inputs]:
        if not isinstance(node.meta.get("val"), torch.Tensor) or node.meta["val"].ndim:
            continue
        following = node
        while following.op == "placeholder":
            following = following.next
        with graph.inserting_before(following):
            scalar = graph.call_function(torch.ops.aten.select.int, (node, 0, 0))
        scalar.meta = {**node.meta}
        node.replace_all_uses_with(scalar, delete_user_cb=lambda user, scalar=scalar: user is not scalar)
        node.meta["val"] = node.meta["val"].unsqueeze(0)
        for spec in program.graph_signature.output_specs:
            if spec.arg.name == node.name:
                spec.arg.name = scalar.name
        modified = True
    if modified:
        program.graph_module.recompile()
    return PassResult(program, modified)
