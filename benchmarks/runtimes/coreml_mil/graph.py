"""The graph of one function of a saved ML program: nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np

from benchmarks.graph import Graph, Step, Value, conv_macs
from benchmarks.runtimes.coreml_mil.program import Argument, Function, Literal, Operation
from benchmarks.runtimes.coreml_mil.values import BY_NAME, ValueType
from hydramobile.errors import StageError


def graph_of(function: Function, file: str) -> Graph:
    """Raises StageError("read") for a value whose size the program leaves open."""
    types: dict[str, ValueType] = dict(function.inputs)
    constants: set[str] = set()
    steps: list[Step] = []
    for operation in function.operations:
        types |= dict(operation.outputs)
        if operation.type == "const":
            constants.update(name for name, _ in operation.outputs)
        else:
            steps.append(read_step(operation, types))
    values: dict[str, Value] = {}
    for name, kind in types.items():
        if name not in constants:
            if not kind.known:
                raise StageError("read", f"{file}: {name!r} ({kind.dtype} {list(kind.shape)}) has no fixed size")
            values[name] = Value(kind.shape, BY_NAME[kind.dtype].bits)
    return Graph(tuple(steps), tuple(function.inputs), tuple(function.outputs.values()), values)


def named(arguments: Iterable[Argument]) -> tuple[str, ...]:
    found: list[str] = []
    for argument in arguments:
        found += [] if isinstance(argument, Literal) else [argument] if isinstance(argument, str) else argument
    return tuple(found)


def read_step(operation: Operation, types: Mapping[str, ValueType]) -> Step:
    writes = tuple(name for name, _ in operation.outputs)
    return Step(operation.type, operation.name, named(operation.arguments.values()), writes, macs_of(operation, types))


def shape_of(argument: Argument, types: Mapping[str, ValueType]) -> tuple[int, ...]:
    if isinstance(argument, Literal):
        return tuple(np.shape(argument.value)) if not isinstance(argument.value, str) else ()
    return types[argument].shape if isinstance(argument, str) else ()


def macs_of(operation: Operation, types: Mapping[str, ValueType]) -> int:
    """MIL's layouts: conv [O, I/groups, h, w], conv_transpose [I, O/groups, h, w], linear [O, I], matmul."""
    own = operation.arguments
    made = operation.outputs[0][1].shape if operation.outputs else ()
    if operation.type == "conv":
        return conv_macs(made, prod(shape_of(own["weight"], types)[1:]))
    if operation.type == "conv_transpose":
        return conv_macs(shape_of(own["x"], types), prod(shape_of(own["weight"], types)[1:]))
    if operation.type == "linear":
        return conv_macs(made, shape_of(own["weight"], types)[-1])
    if operation.type == "matmul":
        first, rows = shape_of(own["x"], types), made[-2] if len(made) > 1 else 1
        return conv_macs(made, prod(first) // max(1, prod(first[:-2]) * rows))
    return 0
