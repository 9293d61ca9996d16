"""Evaluate a MIL function op by op in numpy.

Tensors of floating dtypes are held as float32. Each result that the file declares as float16 is rounded to float16: a
float16 program has the storage error of float16, with sums in float32, and a float32 program has no such error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.runtimes.coreml_mil.ops import CONSTANT_OPS, OPS
from benchmarks.runtimes.coreml_mil.ops.call import Array, Call, Value
from benchmarks.runtimes.coreml_mil.program import Function, Literal, Operation
from benchmarks.runtimes.coreml_mil.values import BY_NAME, ValueType
from hydramobile.errors import StageError

# The smallest magnitude that float16 rounds to infinity, and the smallest normal float16.
HALF_OVERFLOW = np.float32(65520.0)
HALF_NORMAL = np.float32(2.0**-14)

Observer = Callable[[str, NDArray[np.generic]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A function with its constants folded (compressed weights decoded), and the ops that are left to run."""

    function: Function
    constants: Mapping[str, Value]
    steps: tuple[Operation, ...]
    # For each step the names of the values that no later step reads.
    last_reads: tuple[tuple[str, ...], ...]


def prepare(function: Function) -> Plan:
    """Fold the constants and compressed weights of a function.

    Raises StageError("open") where an op is not supported, with the names of all such ops and of all that are.
    """
    unknown = sorted({op.type for op in function.operations if op.type not in OPS and op.type not in CONSTANT_OPS})
    if unknown:
        supported = ", ".join(sorted({*OPS, *CONSTANT_OPS}))
        raise StageError("open", f"function {function.name!r}: unsupported ops {unknown} (supported: {supported})")
    constants: dict[str, Value] = {}
    steps: list[Operation] = []
    for op in function.operations:
        if op.type in CONSTANT_OPS:
            constants |= fold(op, constants)
        else:
            steps.append(op)
    return Plan(function, constants, tuple(steps), last_reads(function, steps))


def fold(op: Operation, constants: Mapping[str, Value]) -> dict[str, Value]:
    """Return the results of an op on constants by name: one, or a sparse weight's mask and elements."""
    call = Call(op.type, op.name, bind_arguments(op, constants), op.outputs)
    text = call.arguments.get("val")
    if op.type == "const" and isinstance(text, str):
        return {op.name: text}
    results = as_tuple(CONSTANT_OPS[op.type](call))
    return {output[0]: as_declared(op, output, value) for output, value in zip(op.outputs, results, strict=True)}


def as_tuple(results: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return results if isinstance(results, tuple) else (results,)


def last_reads(function: Function, steps: list[Operation]) -> tuple[tuple[str, ...], ...]:
    """Return for each step the names of the values that no later step reads, without the function's outputs."""
    last: dict[str, int] = {}
    for index, op in enumerate(steps):
        for argument in op.arguments.values():
            for name in (argument,) if isinstance(argument, str) else argument if isinstance(argument, tuple) else ():
                last[name] = index
    outputs = set(function.outputs.values())
    names: list[list[str]] = [[] for _ in steps]
    for name, index in last.items():
        if name not in outputs:
            names[index].append(name)
    return tuple(map(tuple, names))


def evaluate(plan: Plan, inputs: Mapping[str, Array], observe: Observer | None = None) -> dict[str, Array]:
    """Run the function on `inputs`: float32, int32 or bool arrays of the declared shapes, by the file's names.

    `observe(name, value)` is called with each intermediate value, which it must not change.
    Raises StageError("run") where an op fails, or returns another shape than the file declares.
    """
    values: dict[str, Value] = {**plan.constants, **inputs}
    for index, op in enumerate(plan.steps):
        call = Call(op.type, op.name, bind_arguments(op, values), op.outputs)
        try:
            # float16 overflows to infinity here as on a device. The outputs are judged, and show it.
            with np.errstate(all="ignore"):
                results = as_tuple(OPS[op.type](call))
                results = tuple(as_declared(op, output, x) for output, x in zip(op.outputs, results, strict=True))
        except (ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
            raise StageError("run", f"op {op.type!r} ({op.name}): {type(error).__name__}: {error}") from error
        for (name, _), value in zip(op.outputs, results, strict=True):
            values[name] = value
            if observe is not None:
                observe(name, value)
        for name in plan.last_reads[index]:
            if name not in plan.constants:
                del values[name]
    return {name: np.asarray(values[result]) for name, result in plan.function.outputs.items()}


def bind_arguments(op: Operation, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the arguments of an op as values. A list of names becomes a tuple of arrays."""
    bound: dict[str, Value] = {}
    for key, argument in op.arguments.items():
        if isinstance(argument, Literal):
            bound[key] = widen(argument.value)
        elif isinstance(argument, tuple):
            bound[key] = tuple(np.asarray(values[name]) for name in argument)
        else:
            bound[key] = values[argument]
    return bound


def widen(value: Array | str) -> Array | str:
    """Return a floating constant as float32."""
    if isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float64):
        return value.astype(np.float32)
    return value


def as_declared(op: Operation, output: tuple[str, ValueType], value: Array) -> Array:
    """Return a result in its declared dtype. Raises StageError("run") where its shape is not the declared one."""
    name, declared = output
    value = np.asarray(value)
    if declared.known and tuple(value.shape) != declared.shape:
        raise StageError(
            "run",
            f"op {op.type!r} returned {name!r} of shape {list(value.shape)}, the file says {list(declared.shape)}",
        )
    if declared.dtype == "float16":
        return round_to_half(value.astype(np.float32, copy=False))
    dtype = np.dtype(BY_NAME[declared.dtype].numpy)
    return value if value.dtype == dtype else value.astype(dtype)


def round_to_half(value: Array) -> Array:
    """Round each element to the nearest float16 (ties to even), as float32.

    The result is that of a cast to float16 and back, which takes numpy five times as long. In the normal range of
    float16 the last 13 bits are rounded off in place. For smaller elements, adding and subtracting 0.75 leaves
    multiples of 2**-24.
    """
    magnitude = np.abs(value)
    if not np.all(magnitude < HALF_OVERFLOW):
        with np.errstate(over="ignore", invalid="ignore"):
            return value.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(value).view(np.uint32)
    rounded = (bits >> np.uint32(13)) & np.uint32(1)
    rounded += bits
    rounded += np.uint32(0xFFF)
    rounded &= np.uint32(0xFFFFE000)
    result = rounded.view(np.float32).reshape(value.shape)
    small = magnitude < HALF_NORMAL
    if small.any():
        np.copyto(result, np.copysign((magnitude + np.float32(0.75)) - np.float32(0.75), value), where=small)
    return result
