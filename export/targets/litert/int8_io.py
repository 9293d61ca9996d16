"""int8 inputs and outputs of every signature, for NPUs and for apps that pass integers from module to module."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from export.program import Program
from export.quantize.calibration import Ranges
from export.targets.litert import edit, flatbuffer
from export.targets.litert.fuse import encoding, remove_round_trips, remove_unused

FLOAT32, INT8 = 0, 9
# The first version of the QUANTIZE and DEQUANTIZE operators with int8.
INT8_VERSION = 2
LOW, HIGH = -128, 127


def with_int8_ports(program: Program, model: Any, ranges: Ranges) -> Any:
    """Change the float32 inputs and outputs of the static int8 `model` to int8, in place, and return it.

    A tensor has one scale in all modules. It is the scale in the module that quantizes or dequantizes the tensor, else
    the scale of the tensor's declared range, else the scale of its calibrated range.
    """
    scales = port_scales(program, model, ranges)
    for item in model.signatureDefs:
        graph = model.subgraphs[item.subgraphIndex]
        for port in item.inputs:
            port.tensorIndex = int8_input(model, graph, int(port.tensorIndex), scales[flatbuffer.text(port.name)])
        for port in item.outputs:
            port.tensorIndex = int8_output(model, graph, int(port.tensorIndex), scales[flatbuffer.text(port.name)])
        graph.inputs = [int(port.tensorIndex) for port in item.inputs]
        graph.outputs = [int(port.tensorIndex) for port in item.outputs]
        remove_round_trips(model, graph)
        remove_unused(graph)
        for ports, indices in ((item.inputs, graph.inputs), (item.outputs, graph.outputs)):
            for port, index in zip(ports, indices, strict=True):
                port.tensorIndex = index
    return model


def port_scales(program: Program, model: Any, ranges: Ranges) -> dict[str, Any]:
    """Return the quantization of each tensor that is an input or output of a signature, by the tensor's name."""
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
                measured = ranges[flatbuffer.text(tensor.name)]
                scales[name] = asymmetric(*(declared.range if declared and declared.range else measured))
    return scales


def neighbour(model: Any, graph: Any, index: int) -> Any:
    """Return the quantization of the int8 tensor that a float tensor is quantized to or dequantized from, or None."""
    for operator in graph.operators:
        opcode, source, result = flatbuffer.opcode(model, operator), int(operator.inputs[0]), int(operator.outputs[0])
        if opcode == "QUANTIZE" and source == index:
            return graph.tensors[result].quantization
        if opcode == "DEQUANTIZE" and result == index:
            return graph.tensors[source].quantization
    return None


def asymmetric(low: float, high: float) -> Any:
    """Return the asymmetric int8 quantization of [low, high], widened to hold zero, as every kernel requires."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (HIGH - LOW) or 1.0
    quantization = flatbuffer.schema().QuantizationParametersT()
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.array([int(np.clip(round(LOW - low / scale), LOW, HIGH))], np.int64)
    return quantization


def int8_input(model: Any, graph: Any, index: int, quantization: Any) -> int:
    """Return the int8 tensor that replaces the float input `index`. The float tensor is dequantized from it."""
    if graph.tensors[index].type != FLOAT32:
        return index
    result = int8_copy(graph, index, quantization)
    graph.operators.insert(0, edit.operator(model, "DEQUANTIZE", INT8_VERSION, [result], index))
    return result


def int8_output(model: Any, graph: Any, index: int, quantization: Any) -> int:
    """Return the int8 tensor that replaces the float output `index`: its source, or its quantized copy."""
    if graph.tensors[index].type != FLOAT32:
        return index
    result = int8_copy(graph, index, quantization)
    for before in graph.operators:
        if flatbuffer.opcode(model, before) == "DEQUANTIZE" and int(before.outputs[0]) == index:
            source = int(before.inputs[0])
            if encoding(graph.tensors[source]) == encoding(graph.tensors[result]):
                return source
    graph.operators.append(edit.operator(model, "QUANTIZE", INT8_VERSION, [index], result))
    return result


def int8_copy(graph: Any, index: int, quantization: Any) -> int:
    """Add an int8 tensor of the shape of the tensor `index`, and return its index."""
    tensor = copy.copy(graph.tensors[index])
    tensor.name = f"{flatbuffer.text(tensor.name)}_int8"
    tensor.type, tensor.quantization, tensor.buffer = INT8, quantization, 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
