"""Read the graph of one signature of a .tflite file through the flatbuffer's schema, without running it."""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from benchmarks.graph import Graph, Step, Value, conv_macs
from hydramobile.errors import StageError

# Bits per element by the schema's name of the dtype. The others have no fixed size (strings, resources).
BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "BFLOAT16": 16, "FLOAT64": 64,
    "INT64": 64, "INT32": 32, "INT16": 16, "INT8": 8, "INT4": 4, "INT2": 2,
    "UINT64": 64, "UINT32": 32, "UINT16": 16, "UINT8": 8, "BOOL": 8,
}  # fmt: skip


@cache
def names_of(enum: str) -> dict[int, str]:
    """Return the names of one of the schema's enums by value."""
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(getattr(schema, enum)).items() if isinstance(value, int)}


def graph_of(model: Any, graph: Any, path: Path) -> Graph:
    """Return the Graph of the schema's Model and SubGraph. Raises StageError("read") for a tensor without a size."""
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    shapes = [tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength())) for tensor in tensors]
    values: dict[str, Value] = {}
    for index, tensor in enumerate(tensors):
        buffer = model.Buffers(tensor.Buffer())
        if not (buffer.DataLength() or buffer.Size()):
            dtype = names_of("TensorType")[tensor.Type()]
            if dtype not in BITS or any(side < 0 for side in shapes[index]):
                raise StageError("read", f"{path}: tensor {index} ({dtype} {list(shapes[index])}) has no fixed size")
            values[str(index)] = Value(shapes[index], BITS[dtype])
    steps = tuple(read_step(model, graph.Operators(index), shapes, index) for index in range(graph.OperatorsLength()))
    inputs = tuple(str(graph.Inputs(index)) for index in range(graph.InputsLength()))
    outputs = tuple(str(graph.Outputs(index)) for index in range(graph.OutputsLength()))
    return Graph(steps, inputs, outputs, values)


def read_step(model: Any, operator: Any, shapes: list[tuple[int, ...]], index: int) -> Step:
    """Return the operator number `index` of the graph. `shapes` are those of the graph's tensors."""
    code = model.OperatorCodes(operator.OpcodeIndex())
    opcode = names_of("BuiltinOperator")[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    reads = [operator.Inputs(position) for position in range(operator.InputsLength())]
    writes = [operator.Outputs(position) for position in range(operator.OutputsLength())]
    # -1 is an optional input that is absent.
    inputs = [shapes[tensor] if tensor >= 0 else () for tensor in reads]
    outputs = [shapes[tensor] for tensor in writes]
    names = tuple(str(tensor) for tensor in reads if tensor >= 0)
    return Step(opcode, f"{opcode.lower()}_{index}", names, tuple(map(str, writes)), macs_of(opcode, inputs, outputs))


def macs_of(opcode: str, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]) -> int:
    """Return the multiply-accumulates of an operator, from the shapes of its inputs and outputs.

    Layouts of the kernels: CONV_2D [O, h, w, I/groups], DEPTHWISE_CONV_2D [1, h, w, O], TRANSPOSE_CONV (whose kernel is
    the second input, and whose map is the third) [O, h, w, I], FULLY_CONNECTED [O, I].
    """
    if opcode == "CONV_2D":
        return conv_macs(outputs[0], prod(inputs[1][1:]))
    if opcode == "DEPTHWISE_CONV_2D":
        return conv_macs(outputs[0], prod(inputs[1][1:3]))
    if opcode == "TRANSPOSE_CONV":
        return conv_macs(inputs[2], prod(inputs[1][:3]))
    if opcode == "FULLY_CONNECTED":
        return conv_macs(outputs[0], inputs[1][-1])
    if opcode == "BATCH_MATMUL":
        # Which axis is summed depends on adj_x. Its size follows from the numbers of elements alone.
        rows, columns, batch = outputs[0][-2], outputs[0][-1], prod(outputs[0][:-2])
        return batch * rows * columns * (prod(inputs[0]) // max(1, prod(inputs[0][:-2]) * rows))
    return 0
