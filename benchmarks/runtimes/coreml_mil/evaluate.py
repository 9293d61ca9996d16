"""Running a MIL function op by op in numpy.

Values of a floating type are held as float32. After every op whose declared output is float16 the result is rounded
to float16, so a float16 program shows float16's storage error with float32 sums, and a float32 program none.
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

# The smallest magnitude that float16 rounds to infinity, and its smallest normal value.
HALF_OVERFLOW = np.float32(65520.0)
HALF_NORMAL = np.float32(2.0**-14)

Observer = Callable[[str, NDArray[np.generic]], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A function ready to run: constants folded (compressed weights decoded), the steps left, when values die."""

    function: Function
    constants: Mapping[str, Value]
    steps: tuple[Operation, ...]
    # Names of values that no step after this one reads.
    dead: tuple[tuple[str, ...], ...]


def prepare(function: Function) -> Plan:
    """Check that every op is known and fold what depends on constants alone.

    Raises StageError("open") naming all unknown ops beside the list of those supported.
    """
    unknown = sorted({op.type for op in function.operations if op.type not in OPS and op.type not in CONSTANT_OPS})
    if unknown:
        supported = ", ".join(sorted({*OPS, *CONSTANT_OPS}))
        raise StageError("open", f"function {function.name!r}: unsupported ops {unknown} (supported: {supported})")
    constants: dict[str, Value] = {}
    steps: list[Operation] = []
    for op in function.operations:
        if op.type in CONSTANT_OPS:
            constants |= folded(op, constants)
        else:
            steps.append(op)
    return Plan(function, constants, tuple(steps), lifetimes(function, steps))


def folded(op: Operation, constants: Mapping[str, Value]) -> dict[str, Value]:
    """The results of an op on constants, by name: one, or two where a sparse weight is handed on with its mask."""
    call = Call(op.type, op.name, bind(op, constants), op.outputs)
    text = call.arguments.get("val")
    if op.type == "const" and isinstance(text, str):
        return {op.name: text}
    made = as_tuple(CONSTANT_OPS[op.type](call))
    return {output[0]: settle(op, output, value) for output, value in zip(op.outputs, made, strict=True)}


def as_tuple(made: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    return made if isinstance(made, tuple) else (made,)


def lifetimes(function: Function, steps: list[Operation]) -> tuple[tuple[str, ...], ...]:
    last: dict[str, int] = {}
    for index, op in enumerate(steps):
        for argument in op.arguments.values():
            for name in (argument,) if isinstance(argument, str) else argument if isinstance(argument, tuple) else ():
                last[name] = index
    kept = set(function.outputs.values())
    dead: list[list[str]] = [[] for _ in steps]
    for name, index in last.items():
        if name not in kept:
            dead[index].append(name)
    return tuple(map(tuple, dead))


def evaluate(plan: Plan, inputs: Mapping[str, Array], observe: Observer | None = None) -> dict[str, Array]:
    """Run the function on `inputs` (by the file's names, float32, int32 or bool arrays of the declared shapes).

    `observe(name, value)` sees every intermediate value as it is made; it must not change it.
    Raises StageError("run") when an op fails or makes another shape than the file declares.
    """
    known: dict[str, Value] = {**plan.constants, **inputs}
    for index, op in enumerate(plan.steps):
        call = Call(op.type, op.name, bind(op, known), op.outputs)
        try:
            # Overflow to infinity is what float16 does; it shows up in the outputs, where it is judged.
            with np.errstate(all="ignore"):
                made = as_tuple(OPS[op.type](call))
                settled = [settle(op, output, value) for output, value in zip(op.outputs, made, strict=True)]
        except (ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
            raise StageError("run", f"op {op.type!r} ({op.name}): {type(error).__name__}: {error}") from error
        for (name, _), value in zip(op.outputs, settled, strict=True):
            known[name] = value
            if observe is not None:
                observe(name, value)
        for name in plan.dead[index]:
            if name not in plan.constants:
                del known[name]
    return {name: np.asarray(known[result]) for name, result in plan.function.outputs.items()}


def bind(op: Operation, known: Mapping[str, Value]) -> dict[str, Value]:
    """An op's arguments as values. A list of values becomes a tuple."""
    bound: dict[str, Value] = {}
    for key, argument in op.arguments.items():
        if isinstance(argument, Literal):
            bound[key] = widen(argument.value)
        elif isinstance(argument, tuple):
            bound[key] = tuple(np.asarray(known[name]) for name in argument)
        else:
            bound[key] = known[argument]
    return bound


def widen(value: Array | str) -> Array | str:
    if isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float64):
        return value.astype(np.float32)
    return value


def settle(op: Operation, output: tuple[str, ValueType], value: Array) -> Array:
    """Give a result its declared type: shape checked, dtype cast, float16 rounded."""
    name, kind = output
    value = np.asarray(value)
    if kind.known and tuple(value.shape) != kind.shape:
        raise StageError(
            "run", f"op {op.type!r} made {name!r} of shape {list(value.shape)}, the file says {list(kind.shape)}"
        )
    if kind.dtype == "float16":
        return round_to_half(value.astype(np.float32, copy=False))
    target = np.dtype(BY_NAME[kind.dtype].numpy)
    return value if value.dtype == target else value.astype(target)


def round_to_half(value: Array) -> Array:
    """The nearest float16 of every value (ties to even), as float32.

    The same as a cast there and back, which takes numpy five times as long: for values within float16's normal range
    the last 13 bits are rounded off in place, for smaller ones a sum with .75 leaves multiples of 2**-24.
    """
    size = np.abs(value)
    if not np.all(size < HALF_OVERFLOW):
        with np.errstate(over="ignore", invalid="ignore"):
            return value.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(value).view(np.uint32)
    rounded = (bits >> np.uint32(13)) & np.uint32(1)
    rounded += bits
    rounded += np.uint32(0xFFF)
    rounded &= np.uint32(0xFFFFE000)
    made = rounded.view(np.float32).reshape(value.shape)
    small = size < HALF_NORMAL
    if small.any():
        np.copyto(made, np.copysign((size + np.float32(0.75)) - np.float32(0.75), value), where=small)
    return made
