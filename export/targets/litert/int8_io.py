"""int8 at the inputs and outputs of every signature, for NPUs and apps that pass integers from module to module."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from export.program import Program
from export.quantize.observers import Ranges
from export.targets.litert import edit, flatbuffer
from export.targets.litert.fuse import encoding, remove_round_trips, remove_unused

FLOAT32, INT8 = 0, 9
# The version of QUANTIZE and DEQUANTIZE that does.
KNOWS_INT8 = 2
LOW, HIGH = -128, 127


def with_int8_ports(program: Program, model: Any, ranges: Ranges) -> Any:
    """The static int8 `model` (float32 ports), changed in place to int8 ones; a tensor has one scale in all modules:
    the one that a module quantizes it with, else that of its declared range, or of its measured one.
    """
    scales: dict[str, Any] = {}
    for item in model.signatureDefs:
        graph = model.subgraphs[item.subgraphIndex]
        for port in [*item.inputs, *item.outputs]:
            name = flatbuffer.text(port.name)
            scales[name] = scales.get(name) or neighbour(model, graph, int(port.tensorIndex))
    for item in model.signatureDefs:
        graph = model.subgraphs[item.subgraphIndex]
        for port in [*item.inputs, *item.outputs]:
            name, tensor = flatbuffer.text(port.name), graph.tensors[port.tensorIndex]
            if scales[name] is None and tensor.type == FLOAT32:
                declared = program.spec.tensors.get(name)
                measured = ranges.found[flatbuffer.text(tensor.name)]
                scales[name] = parameters(*(declared.range if declared and declared.range else measured))
        for port in item.inputs:
            port.tensorIndex = take(model, graph, int(port.tensorIndex), scales[flatbuffer.text(port.name)])
        for port in item.outputs:
            port.tensorIndex = give(model, graph, int(port.tensorIndex), scales[flatbuffer.text(port.name)])
        graph.inputs = [int(port.tensorIndex) for port in item.inputs]
        graph.outputs = [int(port.tensorIndex) for port in item.outputs]
        remove_round_trips(model, graph)
        remove_unused(graph)
        for ports, indices in ((item.inputs, graph.inputs), (item.outputs, graph.outputs)):
            for port, index in zip(ports, indices, strict=True):
                port.tensorIndex = index
    return model


def neighbour(model: Any, graph: Any, index: int) -> Any:
    """The quantization of the int8 tensor that a float tensor is quantized to or dequantized from; None without one."""
    for operator in graph.operators:
        kind, source, result = flatbuffer.opcode(model, operator), int(operator.inputs[0]), int(operator.outputs[0])
        if kind == "QUANTIZE" and source == index:
            return graph.tensors[result].quantization
        if kind == "DEQUANTIZE" and result == index:
            return graph.tensors[source].quantization
    return None


def parameters(low: float, high: float) -> Any:
    """Asymmetric int8 that holds [low, high] and zero itself (as every kernel wants it)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (HIGH - LOW) or 1.0
    made = flatbuffer.schema().QuantizationParametersT()
    made.scale = np.array([scale], np.float32)
    made.zeroPoint = np.array([int(np.clip(round(LOW - low / scale), LOW, HIGH))], np.int64)
    return made


def take(model: Any, graph: Any, index: int, quantization: Any) -> int:
    """The int8 tensor that the graph gets in place of the float tensor `index`."""
    if graph.tensors[index].type != FLOAT32:
        return index
    made = int8_copy(graph, index, quantization)
    graph.operators.insert(0, edit.operator(model, "DEQUANTIZE", KNOWS_INT8, [made], index))
    return made


def give(model: Any, graph: Any, index: int, quantization: Any) -> int:
    """The int8 tensor that the graph returns in place of the float tensor `index`."""
    if graph.tensors[index].type != FLOAT32:
        return index
    made = int8_copy(graph, index, quantization)
    for before in graph.operators:
        if flatbuffer.opcode(model, before) == "DEQUANTIZE" and int(before.outputs[0]) == index:
            source = int(before.inputs[0])
            if encoding(graph.tensors[source]) == encoding(graph.tensors[made]):
                return source
    graph.operators.append(edit.operator(model, "QUANTIZE", KNOWS_INT8, [index], made))
    return made


def int8_copy(graph: Any, index: int, quantization: Any) -> int:
    tensor = copy.copy(graph.tensors[index])
    tensor.name = f"{flatbuffer.text(tensor.name)}_int8"
    tensor.type, tensor.quantization, tensor.buffer = INT8, quantization, 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
