"""The graph of one signature of a .tflite file, read through the flatbuffer's schema: nothing is run."""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from benchmarks.cost.graph import Graph, Step, Value, conv_macs
from hydramobile.errors import StageError

# Bits an element by the schema's type name; what is not here has no fixed size (strings, resources).
BITS = {
    "FLOAT32": 32, "FLOAT16": 16, "BFLOAT16": 16, "FLOAT64": 64,
    "INT64": 64, "INT32": 32, "INT16": 16, "INT8": 8, "INT4": 4, "INT2": 2,
    "UINT64": 64, "UINT32": 32, "UINT16": 16, "UINT8": 8, "BOOL": 8,
}  # fmt: skip


@cache
def names_of(enum: str) -> dict[int, str]:
    """The names of one of the schema's enums by value."""
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(getattr(schema, enum)).items() if isinstance(value, int)}


def graph_of(model: Any, graph: Any, path: Path) -> Graph:
    """Of the schema's Model and SubGraph. Raises StageError("read") for a tensor without a size."""
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    shapes = [tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength())) for tensor in tensors]
    values: dict[str, Value] = {}
    for index, tensor in enumerate(tensors):
        buffer = model.Buffers(tensor.Buffer())
        if not (buffer.DataLength() or buffer.Size()):
            kind = names_of("TensorType")[tensor.Type()]
            if kind not in BITS or any(side < 0 for side in shapes[index]):
                raise StageError("read", f"{path}: tensor {index} ({kind} {list(shapes[index])}) has no fixed size")
            values[str(index)] = Value(shapes[index], BITS[kind])
    steps = tuple(read_step(model, graph.Operators(index), shapes, index) for index in range(graph.OperatorsLength()))
    inputs = tuple(str(graph.Inputs(index)) for index in range(graph.InputsLength()))
    outputs = tuple(str(graph.Outputs(index)) for index in range(graph.OutputsLength()))
    return Graph(steps, inputs, outputs, values)


def read_step(model: Any, operator: Any, shapes: list[tuple[int, ...]], index: int) -> Step:
    code = model.OperatorCodes(operator.OpcodeIndex())
    kind = names_of("BuiltinOperator")[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    reads = [operator.Inputs(place) for place in range(operator.InputsLength())]
    writes = [operator.Outputs(place) for place in range(operator.OutputsLength())]
    # -1 stands for an optional input that is not there.
    given = [shapes[tensor] if tensor >= 0 else () for tensor in reads]
    made = [shapes[tensor] for tensor in writes]
    names = tuple(str(tensor) for tensor in reads if tensor >= 0)
    return Step(kind, f"{kind.lower()}_{index}", names, tuple(map(str, writes)), macs_of(kind, given, made))


def macs_of(kind: str, given: list[tuple[int, ...]], made: list[tuple[int, ...]]) -> int:
    """Layouts of the kernels: CONV_2D [O, h, w, I/groups], DEPTHWISE_CONV_2D [1, h, w, O], TRANSPOSE_CONV (kernel
    second, input third) [O, h, w, I], FULLY_CONNECTED [O, I]."""
    if kind == "CONV_2D":
        return conv_macs(made[0], prod(given[1][1:]))
    if kind == "DEPTHWISE_CONV_2D":
        return conv_macs(made[0], prod(given[1][1:3]))
    if kind == "TRANSPOSE_CONV":
        return conv_macs(given[2], prod(given[1][:3]))
    if kind == "FULLY_CONNECTED":
        return conv_macs(made[0], given[1][-1])
    if kind == "BATCH_MATMUL":
        # Which axis is summed over depends on adj_x; the elements of both sides fix it without looking.
        rows, columns, batch = made[0][-2], made[0][-1], prod(made[0][:-2])
        return batch * rows * columns * (prod(given[0]) // max(1, prod(given[0][:-2]) * rows))
    return 0
