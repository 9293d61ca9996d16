"""Copy outputs that are inputs, such as an encoder that returns the photo among its features.

Before: return (x,)                  x: a placeholder, or clones of one
After:  return (aten.add(x, 0),)

Symptom: "Main block's input name, 'x', is different from its corresponding var's name, 'z'".
Cause: coremltools 9.0 renames the variable of an output to the output's name. Here it is the variable of an input.
Retired by: a coremltools that copies it (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def copy_passthrough_outputs(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace each output that is a placeholder, or clones of one, by `aten.add(placeholder, 0)`."""
    import torch

    graph, modified = program.graph_module.graph, False
    output_node = graph.output_node()
    specs, outputs = program.graph_signature.output_specs, list(output_node.args[0])
    for index, (spec, output) in enumerate(zip(specs, outputs, strict=True)):
        source = output
        while source.op == "call_function" and source.target is torch.ops.aten.clone.default:
            source = source.args[0]
        if source.op != "placeholder":
            continue
        with graph.inserting_before(output_node):
            # coremltools converts a clone to the variable that it clones.
            copy = graph.call_function(torch.ops.aten.add.Tensor, (source, 0))
        copy.meta = {**source.meta}
        # The signature names outputs by node.
        spec.arg.name = copy.name
        outputs[index] = copy
        modified = True
    output_node.args = (tuple(outputs),)
    if graph.eliminate_dead_code() or modified:
        program.graph_module.recompile()
    return PassResult(program, modified)
