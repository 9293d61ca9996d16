"""New tensors, constants and operators of a graph, for those who rewrite one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.targets.litert import flatbuffer

FLOAT32 = 0


def has_data(model: Any, graph: Any, number: int) -> bool:
    """Whether tensor `number` is a constant."""
    data = model.buffers[graph.tensors[number].buffer].data
    return data is not None and len(data) > 0


def shape_of(graph: Any, number: int) -> list[int]:
    found = graph.tensors[number].shape
    return [] if found is None else [int(size) for size in found]


def add_tensor(graph: Any, like: int, name: str, shape: list[int]) -> int:
    """The number of a new tensor of the type and the scale of `like`."""
    tensor = copy.copy(graph.tensors[like])
    tensor.name, tensor.shape, tensor.buffer = name, np.array(shape, np.int32), 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_constant(model: Any, graph: Any, name: str, value: NDArray[np.float32]) -> int:
    """The number of a new float32 constant."""
    tensor = flatbuffer.schema().TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.hasRank = name, np.array(value.shape, np.int32), FLOAT32, True
    flatbuffer.store(model, tensor, value)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def operator(
    model: Any, name: str, version: int, inputs: list[int], output: int, options: str = "", **values: Any
) -> Any:
    """An operator "CONV_2D" of at least `version`, with options "Conv2DOptions" of `values` where it has any."""
    api = flatbuffer.schema()
    made = api.OperatorT()
    made.opcodeIndex = code(model, getattr(api.BuiltinOperator, name), version)
    made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    if options:
        made.builtinOptionsType = getattr(api.BuiltinOptions, options)
        made.builtinOptions = getattr(api, f"{options}T")()
    for key, value in values.items():
        setattr(made.builtinOptions, key, value)
    return made


def code(model: Any, wanted: int, version: int) -> int:
    """The place of an operator among the model's codes, which it joins where it is missing or older."""
    for place, known in enumerate(model.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == wanted and known.version >= version:
            return place
    made = flatbuffer.schema().OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = wanted
    made.version = version
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1
