"""Graph fix: `aten.alias` nodes.

Symptom: coremltools refuses a torch.export program with "Unsupported fx node alias".
Cause: `ExportedProgram.run_decompositions` turns views of a whole tensor (detach, lift_fresh_copy, some slices) into
`aten.alias`, for which coremltools 9.0 has no conversion on its export path.
Retired by: a coremltools that converts `aten.alias` (remove this file; tests/export/test_coreml.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def remove_alias(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace every `aten.alias(x)` by `x`, in place. An alias that is an output itself keeps its node's name."""
    import torch

    graph, modified = program.graph_module.graph, False
    output = next(node for node in graph.nodes if node.op == "output")
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not torch.ops.aten.alias.default:
            continue
        modified = True
        if output in node.users:
            # The signature names outputs by node: a clone keeps the name, and is the identity in Core ML too.
            node.target = torch.ops.aten.clone.default
            continue
        source = node.all_input_nodes[0]
        node.replace_all_uses_with(source)
        graph.erase_node(node)
    program.graph_module.recompile()
    return PassResult(program, modified)
