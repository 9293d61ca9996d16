"""Remove `aten.alias`.

Before: y = aten.alias(x); op(y)
After:  op(x)

Symptom: coremltools refuses the program with "Unsupported fx node alias".
Cause: `ExportedProgram.run_decompositions` turns views of a whole tensor (`detach`, `lift_fresh_copy`, some slices)
into `aten.alias`, which coremltools 9.0 does not convert on its torch.export path (apple/coremltools#2517).
Retired by: a coremltools that converts `aten.alias` (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def remove_alias(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace each `aten.alias(x)` by `x`, and one that is an output by `aten.clone(x)`."""
    import torch

    graph, modified = program.graph_module.graph, False
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not torch.ops.aten.alias.default:
            continue
        modified = True
        if graph.output_node() in node.users:
            # The signature names outputs by node. A clone keeps the name, and coremltools converts it to an identity.
            node.target = torch.ops.aten.clone.default
            continue
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.erase_node(node)
    if modified:
        program.graph_module.recompile()
    return PassResult(program, modified)
