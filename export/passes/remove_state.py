"""Remove state that a net keeps between two runs, and refuse nets whose outputs depend on it.

Exported files are feed-forward: equal inputs give equal outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from export.passes.aten import is_mutable
from export.passes.base import PassResult
from export.passes.dataflow import computed_from
from hydramobile.errors import StageError
from hydramobile.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

STAGE = "capture"
# The largest difference between two runs on one input, relative to the largest magnitude: threads add in any order.
REPEAT_TOLERANCE = 1e-4


def check_repeats(spec: ModelSpec, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """Compare the tensors of two runs on one input.

    Raises StageError("capture"), which names the module and its first output that differs: a net that does not repeat
    its outputs is no reference for a file.
    """
    for module in spec.modules.values():
        for name in module.outputs:
            before, after = first[name].double(), second[name].double()
            if not before.numel():
                continue
            limit = REPEAT_TOLERANCE * max(1.0, float(before.abs().max()))
            if float((before - after).abs().max()) > limit:
                raise StageError(
                    STAGE,
                    f"module {module.name!r} returns another {name!r} for the same input the second time: it draws "
                    "random numbers or changes its own buffers, and exported files are feed-forward",
                )


def remove_buffer_writes(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Remove in-place writes into buffers that no output depends on, such as a counter of runs.

    Before: `aten.add_(counter, 1)` of a registered buffer `counter` that the outputs do not read. After: nothing.
    """
    graph, modified = program.graph_module.graph, False
    (output,) = (node for node in graph.nodes if node.op == "output")
    for buffer in [node for node in graph.nodes if node.name in program.graph_signature.inputs_to_buffers]:
        readers = computed_from([buffer], graph)
        writes = [node for node in graph.nodes if node in readers and is_mutable(node.target)]
        # A write into another tensor reaches that tensor's readers, which are not computed from the buffer.
        if output in readers or any(mutated_tensor(node) is not buffer for node in writes):
            continue
        for node in reversed(writes):
            if not node.users:
                graph.erase_node(node)
                modified = True
    return PassResult(program, modified)


def mutated_tensor(node: fx.Node) -> fx.Node:
    """Return the tensor whose memory an in-place op writes, followed through views."""
    while node.op == "call_function" and aliases_first_argument(node.target):
        node = node.args[0]  # type: ignore[assignment]  # the tensor that a view or an in-place op takes
    return node


def aliases_first_argument(target: Any) -> bool:
    """Return whether the op's output shares memory with its first argument: a view or an in-place op."""
    schema = getattr(target, "_schema", None)
    return bool(schema is not None and schema.arguments and schema.arguments[0].alias_info is not None)
