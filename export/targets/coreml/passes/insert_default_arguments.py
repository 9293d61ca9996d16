"""Insert the default arguments that torch.export leaves out and coremltools counts.

Before: aten.max_pool2d(x, [2, 2]); aten.cosine_similarity(x, y)
After:  aten.max_pool2d(x, [2, 2], [2, 2]); aten.cosine_similarity(x, y, 1, 1e-08)

Symptom: "node max_pool2d (max_pool2d) got 2 input(s), expected minimum 3 inputs" for `F.max_pool2d(x, 2)`, and
"got 2 input(s), expected [4]" for `F.cosine_similarity(x, y)`.
Cause: coremltools 9.0 counts the arguments of these ops, and torch.export writes no argument that has its default.
Retired by: a coremltools that knows the defaults (apple/coremltools#2415; tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Pools whose default stride is their kernel: the schema's own default is an empty list.
POOLS = ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
COUNTED = ("cosine_similarity",)


def insert_default_arguments(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Give pools without a stride their kernel as stride, and the ops of COUNTED all arguments of their schema."""
    import torch

    aten, modified = torch.ops.aten, False
    pools = {getattr(aten, name).default for name in POOLS}
    counted = {getattr(aten, name).default for name in COUNTED}
    for node in program.graph_module.graph.nodes:
        arguments = list(node.args)
        if node.target in pools and len(arguments) == 2:
            arguments.append(arguments[1])
        if node.target in pools and len(arguments) > 2 and not arguments[2]:
            arguments[2] = arguments[1]
        if node.target in counted and not node.kwargs:
            arguments += [argument.default_value for argument in node.target._schema.arguments[len(arguments) :]]
        modified = modified or arguments != list(node.args)
        node.args = tuple(arguments)
    return PassResult(program, modified)
