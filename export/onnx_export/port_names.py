"""Give the ports of an ONNX graph their names where a tensor inside of the graph has one of them already.

Symptom: "Duplicate definition-site for (remainder)", or an output that holds another tensor.
Cause: PyTorch's exporter names tensors after ATen ops, and renames inputs and outputs without a look at the others.
Retired by: an exporter that keeps names unique (tests/export/test_names.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx


def neutral_names(entry: EntrySpec) -> tuple[list[str], list[str]]:
    """Return names of inputs and outputs that no exporter gives to a tensor."""
    return [f"port_in_{i}_" for i in range(len(entry.inputs))], [f"port_out_{i}_" for i in range(len(entry.outputs))]


def has_duplicates(model: onnx.ModelProto) -> bool:
    """Return whether two tensors of the graph have one name."""
    return any(count > 1 for count in Counter(defined(model.graph)).values())


def defined(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the name of each tensor where the graph defines it."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def name_ports(model: onnx.ModelProto, entry: EntrySpec) -> None:
    """Rename the ports of a graph with `neutral_names` to the entry's, in place, and inner tensors out of their way."""
    inputs, outputs = neutral_names(entry)
    ports = dict(zip((*inputs, *outputs), (*entry.inputs, *entry.outputs), strict=True))
    taken = {*defined(model.graph), *ports.values()}
    renamed = dict(ports)
    for name in set(ports.values()) & set(defined(model.graph)):
        inner = f"{name}_inner"
        while inner in taken:
            inner += "_"
        taken.add(inner)
        renamed[name] = inner
    rename(model.graph, renamed)


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename tensors of the graph and of the graphs in its nodes, in place."""
    for items in (graph.input, graph.output, graph.value_info, graph.initializer):
        for item in items:
            item.name = names.get(item.name, item.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                rename(attribute.g, names)
