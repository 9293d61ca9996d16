"""Describe a plan in Kotlin: identifiers, types and literals."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from export.bundle.names import Scope, camel, pascal
from export.bundle.plan import PHOTO, STAGE, Plan, Step, Whole
from hydramobile.artifact import Port
from hydramobile.errors import StageError

# https://kotlinlang.org/docs/keyword-reference.html: hard keywords, and the soft ones that read badly as names.
KEYWORDS = frozenset((
    "as", "break", "class", "continue", "do", "else", "false", "for", "fun", "if", "in", "interface", "is", "null",
    "object", "package", "return", "super", "this", "throw", "true", "try", "typealias", "typeof", "val", "var",
    "when", "while", "it", "field", "value", "suspend", "internal", "private", "public", "by", "get", "set",
))  # fmt: skip
# Members of the generated class and of its supertypes, and names that its methods use.
MEMBERS = frozenset((
    "close", "device", "fallback", "load", "raw", "session", "outcome", "use", "equals", "hashCode", "toString", "wait",
    "notify", "notifyAll", "getClass", "javaClass", "holding", "keep", "release", "context", "onFallback", "mapOf",
    "listOf", "emptyMap", "emptyList", "floatArrayOf", "intArrayOf", "longArrayOf", "booleanArrayOf", "Companion",
    "features", "results", "lease", "all", "also", "let", "apply", "run2",
))  # fmt: skip
# Types of the package's own sources, and those of Kotlin and Android that the generated file uses.
TYPES = frozenset((
    "Any", "AutoCloseable", "Boolean", "BooleanArray", "Device", "Engine", "Features", "Float", "FloatArray", "Holder",
    "Int", "IntArray", "Integers", "Kind", "Lease", "List", "Long", "LongArray", "Map", "ModelFile", "NetException",
    "Orientation", "Outcome", "Photo", "Plane", "Port", "Resize", "Rows", "Session", "Set", "Step", "Steps", "String",
    "Tensor", "Triangles", "Unit", "Context", "Exception", "Throwable", "Result", "Golden", "GoldenFiles", "Watch",
    "BitmapRows", "Bitmap", "Array", "ByteArray", "Pair", "Comparable", "Enum", "Error",
))  # fmt: skip
# What the methods of LiteRT's TensorBuffer read and write. uint8 passes as int8: they copy bytes.
KINDS = ("float32", "int32", "int64", "int8", "uint8", "bool")
# Dtype -> Kotlin's scalar, its array, and the function that makes one.
ARRAYS = {
    "float32": ("Float", "FloatArray", "floatArrayOf"),
    "int32": ("Int", "IntArray", "intArrayOf"),
    "int64": ("Long", "LongArray", "longArrayOf"),
    "bool": ("Boolean", "BooleanArray", "booleanArrayOf"),
}
FLOAT_MAX = 3.4028235e38
INTEGERS = ("int32", "int64", "int8", "uint8")


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a method. `packed` is the expression of its elements for the file; "" for features."""

    name: str
    type: str
    text: str
    packed: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a result: `read` is the expression that makes it of `outcome`."""

    name: str
    type: str
    text: str
    read: str
    port: Port


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the class, for a step or a fused entry."""

    name: str
    verb: str
    step: str
    result: str
    features: bool
    arguments: tuple[Argument, ...]
    inputs: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a step inside the method of a fused entry."""

    variable: str
    verb: str
    arguments: tuple[str, ...]
    features: bool


@dataclass(frozen=True, slots=True)
class WholeMethod:
    """The method of a fused entry: calls of steps, and the fields of its result with the expression of each."""

    name: str
    verb: str
    result: str
    arguments: tuple[Argument, ...]
    calls: tuple[Call, ...]
    fields: tuple[tuple[Field, str], ...]


class Net:
    """The names of one package in Kotlin. The same plan gives the same names."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.name = plan.package
        self.module = plan.package.lower()
        self.package = f"hydramobile.{self.module}"
        types = Scope({*TYPES, self.name})
        verbs = Scope(KEYWORDS | MEMBERS)
        constants = Scope(KEYWORDS | MEMBERS)
        self.types = {
            step.name: types.take(step.name, type_name(step.name, bool(step.features))) for step in plan.steps
        }
        self.constants = constants.all(step.name for step in plan.steps)
        self.verbs = {step.name: verbs.take(step.name, step.verb) for step in plan.steps}
        self.whole_types = {
            whole.name: types.take(f"whole {whole.name}", type_name(whole.name, False)) for whole in plan.wholes
        }
        self.whole_verbs = {whole.name: verbs.take(f"whole {whole.name}", whole.verb) for whole in plan.wholes}
        check_dtypes(plan)
        self.methods = tuple(self.method(step) for step in plan.steps)
        self.wholes = tuple(self.whole(whole) for whole in plan.wholes)

    def method(self, step: Step) -> Method:
        """Return the method of a step."""
        scope = Scope(KEYWORDS | MEMBERS | set(self.verbs.values()))
        constant = f"Steps.{self.constants[step.name]}"
        features = tuple(
            Argument(scope.take(f"step {name}", camel(name)), self.types[name], f"what [{self.verbs[name]}] returned")
            for name in step.reads
        )
        asked = tuple(argument(port, scope, constant) for port in step.asked)
        return Method(
            step.name,
            self.verbs[step.name],
            constant,
            self.types[step.name],
            bool(step.features),
            (*features, *asked),
            tuple((literal(port.name), item.packed) for port, item in zip(step.asked, asked, strict=True)),
            tuple(item.name for item in features),
            fields(step, constant),
        )

    def whole(self, whole: Whole) -> WholeMethod:
        """Return the method of a fused entry. An input that several steps read is asked for once."""
        steps = [self.plan.step(name) for name in whole.steps]
        methods = {method.name: method for method in self.methods}
        taken = KEYWORDS | MEMBERS | set(self.verbs.values()) | set(self.whole_verbs.values())
        scope = Scope(taken)
        asked: dict[str, Argument] = {}
        for step in steps:
            for port in step.asked:
                asked.setdefault(port.name, argument(port, scope, ""))
        variables = {step.name: scope.take(f"step {step.name}", camel(self.types[step.name])) for step in steps}
        calls = tuple(
            Call(
                variables[step.name],
                self.verbs[step.name],
                (*(variables[name] for name in step.reads), *(asked[port.name].name for port in step.asked)),
                bool(step.features),
            )
            for step in steps
        )
        results = {
            field.port.name: (field, f"{variables[step.name]}.{field.name}")
            for step in steps
            for field in methods[step.name].fields
        }
        renamed = Scope(KEYWORDS | MEMBERS)
        pairs = []
        for name in whole.outputs:
            field, read = results[name]
            pairs.append((Field(renamed.take(name, field.name), field.type, field.text, "", field.port), read))
        return WholeMethod(
            whole.name,
            self.whole_verbs[whole.name],
            self.whole_types[whole.name],
            tuple(asked.values()),
            calls,
            tuple(pairs),
        )


def check_dtypes(plan: Plan) -> None:
    """Raise StageError("bundle") for a tensor that LiteRT's Kotlin API can neither read nor write."""
    for step in plan.steps:
        for port in (*step.entry.inputs, *step.entry.outputs):
            if port.dtype not in KINDS:
                raise StageError(
                    STAGE,
                    f"{step.name!r}: {port.name!r} is {port.dtype} in the file; LiteRT's TensorBuffer has no Kotlin "
                    f"method for it (it has {', '.join(KINDS)}): declare another dtype in model.toml",
                )
            if port.kind == PHOTO and port in step.asked and not is_picture(port, 3):
                raise StageError(
                    STAGE, f"{step.name!r}: the photo {port.name!r} has shape {list(port.shape)}, not one RGB picture"
                )


def type_name(name: str, features: bool) -> str:
    return pascal(name) + ("Features" if features else "Result")


def is_picture(port: Port, channels: int) -> bool:
    """Return whether the port holds one picture [1, H, W, channels], or [1, channels, H, W]."""
    if len(port.shape) != 4 or port.shape[0] != 1:
        return False
    if port.layout == "any" and port.reference_layout != "NCHW":
        return False
    return port.shape[3 if port.layout == "NHWC" else 1] == channels


def argument(port: Port, scope: Scope, step: str) -> Argument:
    """Return the parameter of an input that the caller gives, of the method of the step constant `step`."""
    name = scope.take(f"input {port.name}", camel(port.name))
    if port.kind == PHOTO:
        packed = f"session.pack({step}, {literal(port.name)}, {name})"
        return Argument(name, "Photo", described(port), packed)
    quantized = port.scale != 1 or port.zero_point != 0 or port.dtype not in ARRAYS
    scalar, array, make = ARRAYS["float32" if quantized else port.dtype]
    given = f"{make}({name})" if not port.shape else name
    packed = f"{step}.input({literal(port.name)}).pack({given})"
    return Argument(name, array if port.shape else scalar, described(port), packed)


def fields(step: Step, constant: str) -> tuple[Field, ...]:
    """Return the fields of a step's result."""
    scope = Scope(KEYWORDS | MEMBERS)
    made = []
    for port in step.entry.outputs:
        if port.name not in step.results:
            continue
        type_, maker = result_type(port)
        read = f"{constant}.output({literal(port.name)}).{maker}(outcome.results.getValue({literal(port.name)}))"
        made.append(Field(scope.take(port.name, camel(port.name)), type_, described(port), read, port))
    return tuple(made)


def result_type(port: Port) -> tuple[str, str]:
    """Return the Kotlin class of an output, and the function that makes it."""
    if port.dtype in INTEGERS and port.scale == 1 and not port.zero_point:
        return "Integers", "integers"
    return ("Plane", "plane") if is_picture(port, 1) else ("Tensor", "tensor")


def described(port: Port) -> str:
    """Return the description of a port for KDoc: its words, its shape and its range."""
    shape = " x ".join(str(size) for size in port.shape) or "a scalar"
    limits = f", {port.range[0]:g} to {port.range[1]:g}" if port.range and port.kind != PHOTO else ""
    words = f"{comment(port.description)}: " if port.description else ""
    layout = f" {port.layout}" if port.layout != "any" else ""
    return f"{words}{shape}{layout}{limits}" if port.kind != PHOTO else comment(port.description) or "the photo"


def comment(text: str) -> str:
    """Return text on one line that neither ends a comment nor opens one (comments of Kotlin nest), nor links."""
    flat = " ".join(text.split())
    return flat.replace("*/", "* /").replace("/*", "/ *").replace("[", "(").replace("]", ")").rstrip(".")


def literal(text: str) -> str:
    """Return a string literal of Kotlin."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped) + '"'


def number(value: float) -> str:
    """Return a Float literal that reads back as the float32 nearest to `value`."""
    if math.isnan(value):
        return "Float.NaN"
    if abs(value) > FLOAT_MAX:
        return "Float.POSITIVE_INFINITY" if value > 0 else "Float.NEGATIVE_INFINITY"
    return f"{value!r}f"


def port_code(port: Port) -> str:
    """Return the constructor call of a port's constant."""
    last = "true" if port.layout == "NHWC" else "false"
    shape = f"intArrayOf({', '.join(map(str, port.shape))})"
    words = [literal(port.name), literal(port.file_name), shape, last, f"Kind.{port.dtype.upper()}"]
    if port.scale != 1:
        words.append(f"scale = {number(port.scale)}")
    if port.zero_point:
        words.append(f"zeroPoint = {number(port.zero_point)}")
    if port.range:
        words += [f"low = {number(port.range[0])}", f"high = {number(port.range[1])}"]
    return f"Port({', '.join(words)})"


def names_code(names: Collection[str]) -> str:
    """Return a set of strings."""
    return f"setOf({', '.join(literal(name) for name in names)})" if names else "emptySet()"
