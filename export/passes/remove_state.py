"""Remove state that a net keeps between two runs.

Exported files are feed-forward: equal inputs give equal outputs. Nets whose outputs depend on their state are refused
(`check_repeats` in hydramobile/reference_run.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.aten import is_mutable
from export.passes.base import PassResult
from export.passes.dataflow import computed_from
from export.passes.user_code import node_line
from hydramobile.errors import StageError

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

STAGE = "capture"


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


def refuse_state(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Refuse a net whose outputs depend on a buffer that it writes itself, such as a cache of keys and values.

    Writes into buffers that are overwritten before they are read are removed: the outputs do not depend on an earlier
    call. Raises StageError("capture") with the buffer's name and the line of the write.
    """
    graph = program.graph_module.graph
    if not any(is_mutable(node.target) for node in graph.nodes) or not writes_buffer(program):
        return PassResult(program, False)
    functional = program.run_decompositions({})
    signature = functional.graph_signature
    (output,) = (node for node in functional.graph.nodes if node.op == "output")
    results = dict(zip((node.name for node in output.args[0]), output.args[0], strict=True))
    kept = [node for name, node in results.items() if name not in signature.buffers_to_mutate]
    for name, buffer in signature.buffers_to_mutate.items():
        names = [key for key, value in signature.inputs_to_buffers.items() if value == buffer]
        held = holding(functional.graph, names)
        if held.intersection(kept):
            raise StageError(STAGE, state_error(buffer, results[name]))
    written = set(signature.buffers_to_mutate)
    signature.output_specs[:] = [spec for spec in signature.output_specs if spec.arg.name not in written]
    output.args = (tuple(kept),)
    functional.graph_module.recompile()
    return PassResult(functional, True)


def holding(graph: fx.Graph, names: list[str]) -> set[fx.Node]:
    """Return the nodes that hold elements of the named placeholders. `aten.copy` holds its source alone."""
    import torch

    held = set[Any]()
    for node in graph.nodes:
        operands = node.args[1:2] if node.target is torch.ops.aten.copy.default else node.all_input_nodes
        if node.name in names or held.intersection(operands):
            held.add(node)
    return held


def writes_buffer(program: ExportedProgram) -> bool:
    """Return whether an in-place op writes a buffer of the program, or a view of one."""
    buffers = program.graph_signature.inputs_to_buffers
    nodes = program.graph_module.graph.nodes
    return any(is_mutable(node.target) and mutated_tensor(node).name in buffers for node in nodes)


def state_error(buffer: str, write: fx.Node) -> str:
    """Describe a buffer that holds state between two calls."""
    place = node_line(write)
    return (
        f"the net keeps state in buffer {buffer!r}{f' (written in {place})' if place else ''} and reads it in a later "
        "call; exported files are feed-forward. Take the state as an input and return the new one as an output"
    )


def mutated_tensor(node: fx.Node) -> fx.Node:
    """Return the tensor whose memory an in-place op writes, followed through views."""
    while node.op == "call_function" and aliases_first_argument(node.target):
        node = node.args[0]  # type: ignore[assignment]  # the tensor that a view or an in-place op takes
    return node


def aliases_first_argument(target: Any) -> bool:
    """Return whether the op's output shares memory with its first argument: a view or an in-place op."""
    schema = getattr(target, "_schema", None)
    return bool(schema is not None and schema.arguments and schema.arguments[0].alias_info is not None)
