"""Fused entries, built from the graphs of their modules in the flatbuffer instead of converted again.

The fused graph holds the same operators on the same weight buffers, so it adds only tables to the file, and what it
computes is what encoder and head compute one after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from export.targets.litert.flatbuffer import opcode, packed_alone, schema, signature, text
from hydramobile.spec import EntrySpec

NONE = -1  # an optional tensor that an operator does not get


def add_fused(model: Any, entry: EntrySpec) -> Any:
    """A copy of `model` with one more graph and signature, `entry`, made of the graphs of its modules.

    The modules' signatures must carry the reference's tensor names; so does the new one.
    """
    api = schema()
    known: dict[str, int] = {}
    graph = api.SubGraphT()
    graph.name, graph.tensors, graph.operators, graph.inputs = entry.name, [], [], []
    for name in entry.modules:
        module = signature(model, name)
        source = model.subgraphs[module.subgraphIndex]
        inputs = {item.tensorIndex: text(item.name) for item in module.inputs}
        place: dict[int, int] = {NONE: NONE}
        for index, tensor in enumerate(source.tensors):
            if inputs.get(index) in known:
                place[index] = known[inputs[index]]
                continue
            place[index] = len(graph.tensors)
            graph.tensors.append(copy.copy(tensor))
            if index in inputs:
                known[inputs[index]] = place[index]
        graph.operators += [moved(operator, place) for operator in source.operators]
        known.update({text(item.name): place[item.tensorIndex] for item in module.outputs})
    graph.inputs = [known[name] for name in entry.inputs]
    graph.outputs = [known[name] for name in entry.outputs]
    merge_repeats(graph)
    skip_round_trips(model, graph)
    drop_unused(graph)
    fused = copy.copy(model)
    fused.subgraphs = [*model.subgraphs, graph]
    fused.signatureDefs = [*model.signatureDefs, define(entry, graph, len(model.subgraphs))]
    return fused


def define(entry: EntrySpec, graph: Any, index: int) -> Any:
    api = schema()
    made = api.SignatureDefT()
    made.signatureKey, made.subgraphIndex = entry.name, index
    for side, names, indices in (("inputs", entry.inputs, graph.inputs), ("outputs", entry.outputs, graph.outputs)):
        ports = []
        for name, tensor in zip(names, indices, strict=True):
            port = api.TensorMapT()
            port.name, port.tensorIndex = name, int(tensor)
            ports.append(port)
        setattr(made, side, ports)
    return made


def moved(operator: Any, place: Mapping[int, int]) -> Any:
    """A copy of the operator on renumbered tensors."""
    copied = copy.copy(operator)
    for side in ("inputs", "outputs", "intermediates"):
        indices = getattr(operator, side)
        if indices is not None:
            setattr(copied, side, np.array([place.get(int(i), int(i)) for i in indices], np.int32))
    return copied


def merge_repeats(graph: Any) -> None:
    """Run an operator that two modules share on the same tensors (a pooled feature, say) once.

    The converter would do the same on a fused module. Expects equal constants to share a buffer (`compact`).
    Operators with state, or with an output that the graph returns, are left alone.
    """

    def constant(index: int) -> tuple[Any, ...]:
        tensor = graph.tensors[index]
        if tensor.buffer == 0:
            return ("tensor", index)
        shape = tuple(map(int, tensor.shape if tensor.shape is not None else ()))
        # Equal bytes are equal values only under equal scales.
        return ("buffer", tensor.buffer, tensor.type, shape, packed_alone(tensor.quantization))

    made = {int(index) for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    place: dict[int, int] = {}
    seen: dict[tuple[Any, ...], Any] = {}
    kept = []
    for operator in graph.operators:
        current = moved(operator, place)
        inputs = tuple(("tensor", int(i)) if i in made or i == NONE else constant(int(i)) for i in current.inputs)
        key = (
            current.opcodeIndex,
            inputs,
            current.builtinOptionsType,
            packed_alone(current.builtinOptions),
            current.builtinOptions2Type,
            packed_alone(current.builtinOptions2),
            bytes(bytearray(current.customOptions)) if current.customOptions is not None else b"",
            # Two heads may want one feature as integers of different scales.
            tuple(held(graph.tensors[int(i)]) for i in current.outputs),
        )
        stateful = any(graph.tensors[i].isVariable for i in current.inputs if i != NONE)
        returned = any(int(index) in graph.outputs for index in current.outputs)
        if key in seen and not stateful and not returned:
            place.update(zip(map(int, current.outputs), map(int, seen[key].outputs), strict=True))
            continue
        seen.setdefault(key, current)
        kept.append(current)
    graph.operators = kept


def skip_round_trips(model: Any, graph: Any) -> None:
    """Let a module read the integers that another one made, where both quantize the feature between them alike.

    DEQUANTIZE then QUANTIZE to the same scale gives every integer back: the values do not change.
    """
    made = {int(index): operator for operator in graph.operators for index in operator.outputs}
    place: dict[int, int] = {}
    for position, operator in enumerate(graph.operators):
        graph.operators[position] = moved(operator, place)
        if opcode(model, operator) != "QUANTIZE" or int(operator.outputs[0]) in graph.outputs:
            continue
        before = made.get(int(operator.inputs[0]))
        if before is None or opcode(model, before) != "DEQUANTIZE":
            continue
        source, result = int(before.inputs[0]), int(operator.outputs[0])
        if held(graph.tensors[source]) == held(graph.tensors[result]):
            place[result] = source


def held(tensor: Any) -> tuple[Any, ...]:
    """What the integers of a tensor stand for."""
    return tensor.type, packed_alone(tensor.quantization)


def drop_unused(graph: Any) -> None:
    """Remove operators that no output needs, and tensors that no operator touches."""
    needed, kept = set(map(int, graph.outputs)), []
    for operator in reversed(graph.operators):
        if needed & set(map(int, operator.outputs)):
            needed |= {int(index) for index in operator.inputs if index != NONE}
            kept.append(operator)
    kept.reverse()
    touched = needed | set(map(int, graph.inputs))
    touched |= {int(index) for operator in kept for index in operator.outputs}
    touched |= {
        int(i) for operator in kept for i in (operator.intermediates if operator.intermediates is not None else ())
    }
    place = {NONE: NONE} | {old: new for new, old in enumerate(sorted(touched))}
    graph.operators = [moved(operator, place) for operator in kept]
    graph.tensors = [graph.tensors[index] for index in sorted(touched)]
    graph.inputs = [place[int(index)] for index in graph.inputs]
    graph.outputs = [place[int(index)] for index in graph.outputs]
