"""Add tensors, constants and operators to a graph of a flatbuffer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.targets.litert import flatbuffer

FLOAT32 = 0


def has_data(model: Any, graph: Any, number: int) -> bool:
    """Return whether the tensor `number` is a constant."""
    data = model.buffers[graph.tensors[number].buffer].data
    return data is not None and len(data) > 0


def shape_of(graph: Any, number: int) -> list[int]:
    """Return the shape of the tensor `number`, which is empty for a scalar."""
    shape = graph.tensors[number].shape
    return [] if shape is None else [int(size) for size in shape]


def add_tensor(graph: Any, like: int, name: str, shape: list[int]) -> int:
    """Add a tensor with the dtype and the scale of the tensor `like`, and return its index."""
    tensor = copy.copy(graph.tensors[like])
    tensor.name, tensor.shape, tensor.buffer = name, np.array(shape, np.int32), 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_constant(model: Any, graph: Any, name: str, value: NDArray[np.float32]) -> int:
    """Add a float32 constant, and return its index."""
    tensor = flatbuffer.schema().TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.hasRank = name, np.array(value.shape, np.int32), FLOAT32, True
    flatbuffer.store(model, tensor, value)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def operator(
    model: Any, name: str, version: int, inputs: list[int], output: int, options: str = "", **values: Any
) -> Any:
    """Return a new operator, such as "CONV_2D", of at least `version`.

    `options` names the type of its options, such as "Conv2DOptions", and `values` are their fields.
    """
    api = flatbuffer.schema()
    result = api.OperatorT()
    result.opcodeIndex = opcode_index(model, getattr(api.BuiltinOperator, name), version)
    result.inputs, result.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    if options:
        result.builtinOptionsType = getattr(api.BuiltinOptions, options)
        result.builtinOptions = getattr(api, f"{options}T")()
    for key, value in values.items():
        setattr(result.builtinOptions, key, value)
    return result


def opcode_index(model: Any, opcode: int, version: int) -> int:
    """Return the index of an operator code of at least `version` in the model, and add the code where it is missing."""
    for index, known in enumerate(model.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == opcode and known.version >= version:
            return index
    added = flatbuffer.schema().OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = opcode
    added.version = version
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1
