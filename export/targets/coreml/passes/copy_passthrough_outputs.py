"""Graph fix: outputs that are inputs, such as the photo among an encoder's features.

Symptom: "Main block's input name, 'x', is different from its corresponding var's name, 'z'".
Cause: coremltools 9.0 renames the variable of an output to the output's name, which here is an input's.
Retired by: a coremltools that copies it (tests/export/test_state.py keeps the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def copy_passthrough_outputs(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Return a sum with nothing where the program returns an input, in place."""
    import torch

    graph, modified = program.graph_module.graph, False
    output = next(node for node in graph.nodes if node.op == "output")
    specs, values = program.graph_signature.output_specs, list(output.args[0])
    for place, (spec, value) in enumerate(zip(specs, values, strict=True)):
        origin = value
        while origin.op == "call_function" and origin.target is torch.ops.aten.clone.default:
            origin = origin.args[0]
        if origin.op != "placeholder":
            continue
        with graph.inserting_before(output):
            # A clone would be the same variable.
            copy = graph.call_function(torch.ops.aten.add.Tensor, (origin, 0))
        copy.meta = {**origin.meta}
        # The signature names outputs by node.
        spec.arg.name = copy.name
        values[place] = copy
        modified = True
    output.args = (tuple(values),)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return PassResult(program, modified)
