"""Read the graph of one function of a saved ML program. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np

from benchmarks.graph import Graph, Step, Value, conv_macs
from benchmarks.runtimes.coreml_mil.program import Argument, Function, Literal, Operation
from benchmarks.runtimes.coreml_mil.values import BY_NAME, ValueType
from hydramobile.errors import StageError


def graph_of(function: Function, file: str) -> Graph:
    """Return the graph of `function`. Raises StageError("read") for a tensor without a fixed size."""
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
    for name, type_ in types.items():
        if name not in constants:
            if not type_.known:
                raise StageError("read", f"{file}: {name!r} ({type_.dtype} {list(type_.shape)}) has no fixed size")
            values[name] = Value(type_.shape, BY_NAME[type_.dtype].bits)
    return Graph(tuple(steps), tuple(function.inputs), tuple(function.outputs.values()), values)


def names_in(arguments: Iterable[Argument]) -> tuple[str, ...]:
    """Return the names of the values among `arguments`, without the literals."""
    names: list[str] = []
    for argument in arguments:
        names += [] if isinstance(argument, Literal) else [argument] if isinstance(argument, str) else argument
    return tuple(names)


def read_step(operation: Operation, types: Mapping[str, ValueType]) -> Step:
    writes = tuple(name for name, _ in operation.outputs)
    reads = names_in(operation.arguments.values())
    return Step(operation.type, operation.name, reads, writes, macs_of(operation, types))


def shape_of(argument: Argument, types: Mapping[str, ValueType]) -> tuple[int, ...]:
    """Return the shape of an argument; () for a string and for a list."""
    if isinstance(argument, Literal):
        return tuple(np.shape(argument.value)) if not isinstance(argument.value, str) else ()
    return types[argument].shape if isinstance(argument, str) else ()


def macs_of(operation: Operation, types: Mapping[str, ValueType]) -> int:
    """Return the multiply-accumulates of an op.

    Weight layouts of MIL: conv [O, I / groups, h, w], conv_transpose [I, O / groups, h, w], linear [O, I].
    """
    arguments = operation.arguments
    out = operation.outputs[0][1].shape if operation.outputs else ()
    if operation.type == "conv":
        return conv_macs(out, prod(shape_of(arguments["weight"], types)[1:]))
    if operation.type == "conv_transpose":
        return conv_macs(shape_of(arguments["x"], types), prod(shape_of(arguments["weight"], types)[1:]))
    if operation.type == "linear":
        return conv_macs(out, shape_of(arguments["weight"], types)[-1])
    if operation.type == "matmul":
        x, rows = shape_of(arguments["x"], types), out[-2] if len(out) > 1 else 1
        return conv_macs(out, prod(x) // max(1, prod(x[:-2]) * rows))
    return 0
