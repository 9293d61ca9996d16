"""Build fused entries from the graphs of their modules in the flatbuffer, instead of converting them again.

The fused graph holds the same operators on the same weight buffers. It adds only tables to the file, and computes
exactly what its modules compute one after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from export.targets.litert.flatbuffer import opcode, packed, schema, signature, text
from hydramobile.spec import EntrySpec

ABSENT = -1  # the index of an optional tensor that an operator does not get


def add_fused(model: Any, entry: EntrySpec) -> Any:
    """Return a copy of `model` with one more graph and signature, `entry`, built from the graphs of its modules.

    The signatures of the modules must carry the reference's tensor names, and so does the new one.
    """
    graph = concatenated(model, entry)
    merge_duplicates(graph)
    remove_round_trips(model, graph)
    remove_unused(graph)
    fused = copy.copy(model)
    fused.subgraphs = [*model.subgraphs, graph]
    fused.signatureDefs = [*model.signatureDefs, define(entry, graph, len(model.subgraphs))]
    return fused


def concatenated(model: Any, entry: EntrySpec) -> Any:
    """Return one graph with the operators of all modules of `entry`, connected by the names of their signatures."""
    graph = schema().SubGraphT()
    graph.name, graph.tensors, graph.operators, graph.inputs = entry.name, [], [], []
    known: dict[str, int] = {}
    for name in entry.modules:
        module = signature(model, name)
        source = model.subgraphs[module.subgraphIndex]
        inputs = {item.tensorIndex: text(item.name) for item in module.inputs}
        indices: dict[int, int] = {ABSENT: ABSENT}
        for index, tensor in enumerate(source.tensors):
            if inputs.get(index) in known:
                indices[index] = known[inputs[index]]
                continue
            indices[index] = len(graph.tensors)
            graph.tensors.append(copy.copy(tensor))
            if index in inputs:
                known[inputs[index]] = indices[index]
        graph.operators += [renumber(operator, indices) for operator in source.operators]
        known.update({text(item.name): indices[item.tensorIndex] for item in module.outputs})
    graph.inputs = [known[name] for name in entry.inputs]
    graph.outputs = [known[name] for name in entry.outputs]
    return graph


def define(entry: EntrySpec, graph: Any, index: int) -> Any:
    """Return the signature of `entry` for `graph`, the model's graph number `index`."""
    api = schema()
    definition = api.SignatureDefT()
    definition.signatureKey, definition.subgraphIndex = entry.name, index
    for side, names, indices in (("inputs", entry.inputs, graph.inputs), ("outputs", entry.outputs, graph.outputs)):
        ports = []
        for name, tensor in zip(names, indices, strict=True):
            port = api.TensorMapT()
            port.name, port.tensorIndex = name, int(tensor)
            ports.append(port)
        setattr(definition, side, ports)
    return definition


def renumber(operator: Any, indices: Mapping[int, int]) -> Any:
    """Return a copy of the operator whose tensors have the new `indices`. Others keep theirs."""
    copied = copy.copy(operator)
    for side in ("inputs", "outputs", "intermediates"):
        tensors = getattr(operator, side)
        if tensors is not None:
            setattr(copied, side, np.array([indices.get(int(i), int(i)) for i in tensors], np.int32))
    return copied


def merge_duplicates(graph: Any) -> None:
    """Merge operators of one op and equal options on the same tensors, such as the pooled feature of two heads.

    The converter would do the same with a fused module. Equal constants must share a buffer (`compact`). Operators with
    state, and operators with an output that the graph returns, stay.
    """
    computed = {int(index) for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    indices: dict[int, int] = {}
    first: dict[tuple[Any, ...], Any] = {}
    kept = []
    for operator in graph.operators:
        current = renumber(operator, indices)
        key = operator_key(graph, current, computed)
        stateful = any(graph.tensors[i].isVariable for i in current.inputs if i != ABSENT)
        returned = any(int(index) in graph.outputs for index in current.outputs)
        if key in first and not stateful and not returned:
            indices.update(zip(map(int, current.outputs), map(int, first[key].outputs), strict=True))
            continue
        first.setdefault(key, current)
        kept.append(current)
    graph.operators = kept


def operator_key(graph: Any, operator: Any, computed: set[int]) -> tuple[Any, ...]:
    """Return a key that is equal for operators that compute the same. `computed`: all tensors but constants."""
    inputs = tuple(
        ("tensor", int(i)) if i in computed or i == ABSENT else constant_key(graph, int(i)) for i in operator.inputs
    )
    return (
        operator.opcodeIndex,
        inputs,
        operator.builtinOptionsType,
        packed(operator.builtinOptions),
        operator.builtinOptions2Type,
        packed(operator.builtinOptions2),
        bytes(bytearray(operator.customOptions)) if operator.customOptions is not None else b"",
        # Two heads may read one feature as integers of different scales.
        tuple(encoding(graph.tensors[int(i)]) for i in operator.outputs),
    )


def constant_key(graph: Any, index: int) -> tuple[Any, ...]:
    """Return a key that is equal for equal constants."""
    tensor = graph.tensors[index]
    if tensor.buffer == 0:
        return ("tensor", index)
    shape = tuple(map(int, tensor.shape if tensor.shape is not None else ()))
    # Equal bytes are equal values only under equal scales.
    return ("buffer", tensor.buffer, tensor.type, shape, packed(tensor.quantization))


def remove_round_trips(model: Any, graph: Any) -> None:
    """Remove a DEQUANTIZE followed by a QUANTIZE to the same scale: the pair restores the same integers.

    The pair stands between two modules that quantize their common feature alike. Operators then read the integers
    before it.
    """
    producers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    indices: dict[int, int] = {}
    for position, operator in enumerate(graph.operators):
        graph.operators[position] = renumber(operator, indices)
        if opcode(model, operator) != "QUANTIZE" or int(operator.outputs[0]) in graph.outputs:
            continue
        before = producers.get(int(operator.inputs[0]))
        if before is None or opcode(model, before) != "DEQUANTIZE":
            continue
        source, result = int(before.inputs[0]), int(operator.outputs[0])
        if encoding(graph.tensors[source]) == encoding(graph.tensors[result]):
            indices[result] = source


def encoding(tensor: Any) -> tuple[Any, ...]:
    """Return the dtype and the quantization of a tensor, which give its integers their meaning."""
    return tensor.type, packed(tensor.quantization)


def remove_unused(graph: Any) -> None:
    """Remove operators that no output depends on, and tensors that no operator has."""
    needed, kept = set(map(int, graph.outputs)), []
    for operator in reversed(graph.operators):
        if needed & set(map(int, operator.outputs)):
            needed |= {int(index) for index in operator.inputs if index != ABSENT}
            kept.append(operator)
    kept.reverse()
    used = needed | set(map(int, graph.inputs))
    used |= {int(index) for operator in kept for index in operator.outputs}
    used |= {
        int(i) for operator in kept for i in (operator.intermediates if operator.intermediates is not None else ())
    }
    indices = {ABSENT: ABSENT} | {old: new for new, old in enumerate(sorted(used))}
    graph.operators = [renumber(operator, indices) for operator in kept]
    graph.tensors = [graph.tensors[index] for index in sorted(used)]
    graph.inputs = [indices[int(index)] for index in graph.inputs]
    graph.outputs = [indices[int(index)] for index in graph.outputs]
