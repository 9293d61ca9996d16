"""What a net remembers between two runs: files are of feed-forward nets, which remember nothing."""

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
# How far two runs on one input may lie apart, as a share of the largest value: sums in another order.
REPEATS = 1e-4


def check_repeats(spec: ModelSpec, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """Refuse a net whose two runs on one input differ: nothing could be said of its files.

    Raises StageError("capture") naming the module and its first tensor that differs.
    """
    for module in spec.modules.values():
        for name in module.outputs:
            before, after = first[name].double(), second[name].double()
            if before.numel() and float((before - after).abs().max()) > REPEATS * max(1.0, float(before.abs().max())):
                raise StageError(
                    STAGE,
                    f"module {module.name!r} makes another {name!r} of the same input the second time: it draws random "
                    "numbers or changes its own buffers, and files are of feed-forward nets",
                )


def remove_buffer_writes(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Remove in-place writes into buffers that no output depends on, such as a counter of runs.

    Before: `aten.add_(counter, 1)` of a registered buffer `counter` that the outputs do not read. After: nothing.
    """
    graph, modified = program.graph_module.graph, False
    (output,) = (node for node in graph.nodes if node.op == "output")
    for buffer in [node for node in graph.nodes if node.name in program.graph_signature.inputs_to_buffers]:
        read = computed_from([buffer], graph)
        writes = [node for node in graph.nodes if node in read and is_mutable(node.target)]
        # What is written into another tensor goes on from there, without being read from the buffer.
        if output in read or any(base(node) is not buffer for node in writes):
            continue
        for node in reversed(writes):
            if not node.users:
                graph.erase_node(node)
                modified = True
    return PassResult(program, modified)


def base(node: fx.Node) -> fx.Node:
    """The tensor that an op in place writes into, by way of views."""
    while node.op == "call_function" and shares_memory(node.target):
        node = node.args[0]  # type: ignore[assignment]  # the tensor of a view, or of what is written in place
    return node


def shares_memory(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return bool(schema is not None and schema.arguments and schema.arguments[0].alias_info is not None)
