"""Name the methods, arguments, fields and types of a package for JavaScript and TypeScript."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from export.bundle.names import Scope, camel, pascal, words
from export.bundle.plan import Plan, Step, Whole
from hydramobile.artifact import Port

RESERVED_WORDS = """
abstract any arguments as asserts async await boolean break case catch class const constructor continue debugger
declare default delete do else enum eval export extends false finally for from function get if implements import
in infer instanceof interface is keyof let module namespace never new null number object of package private
protected public readonly require return set static string super switch symbol this throw true try type typeof
undefined unique unknown var void while with yield
"""
# What every net has; `then` would make a net, or a result, a promise.
MEMBERS_WORDS = """
backend threads fallback dispose then prototype toString toLocaleString valueOf hasOwnProperty isPrototypeOf
propertyIsEnumerable
"""
TYPES_WORDS = """
Array ArrayLike BigInt64Array Blob CheckRow ErrorCode Features Float32Array Float64Array HydraError
HTMLCanvasElement HTMLImageElement ImageBitmap ImageData Int32Array LoadOptions MapTensor Net Object
OffscreenCanvas Photo Pixels Progress Promise Record Result Tensor URL Uint8Array Values Whole Worker
"""
RESERVED, MEMBERS, TYPES = (frozenset(text.split()) for text in (RESERVED_WORDS, MEMBERS_WORDS, TYPES_WORDS))


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    type: str
    words: str


@dataclass(frozen=True, slots=True)
class Method:
    """One method: of a step, or of a whole. `result` is its TypeScript type."""

    name: str
    target: str
    whole: bool
    features: tuple[Argument, ...]
    inputs: tuple[tuple[str, Argument], ...]
    result: str
    keeps: bool
    returns: bool

    @property
    def arguments(self) -> tuple[Argument, ...]:
        return (*self.features, *(argument for _, argument in self.inputs))


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str
    words: str


@dataclass(frozen=True, slots=True)
class Names:
    """All names of a package. `features` maps a step to its features' type, `results` a type to its fields."""

    npm: str
    net: str
    keys: dict[str, str]
    features: dict[str, str]
    results: dict[str, tuple[Field, ...]]
    methods: tuple[Method, ...]


def make_names(plan: Plan) -> Names:
    """Name everything that the package of `plan` exports."""
    types = Scope(TYPES | RESERVED)
    net = types.take("net", plan.package)
    fields = Scope(MEMBERS | RESERVED | {"features"})
    keys = fields.all(port.name for step in plan.steps for port in step.entry.outputs)
    features = {
        step.name: types.take(f"features of {step.name}", f"{pascal(step.name)}Features") for step in plan.steps
    }
    methods = Scope(MEMBERS | RESERVED)
    results: dict[str, tuple[Field, ...]] = {}
    made = []
    for step in plan.steps:
        made.append(step_method(plan, step, methods.take(f"step {step.name}", step.verb), features))
        if step.results:
            name = types.take(f"result of {step.name}", f"{pascal(step.name)}Result")
            results[name] = fields_of(plan, step.results, keys) + features_field(step, features)
            made[-1] = with_result(made[-1], name)
    for whole in plan.wholes:
        name = types.take(f"whole {whole.name}", f"{pascal(whole.name)}Result")
        results[name] = fields_of(plan, whole.outputs, keys)
        made.append(whole_method(plan, whole, methods.take(f"whole {whole.name}", whole.verb), name))
    kept = {step.name: features[step.name] for step in plan.steps if step.features}
    return Names("-".join(words(plan.package)) or "model", net, keys, kept, results, tuple(made))


def with_result(method: Method, result: str) -> Method:
    return Method(method.name, method.target, False, method.features, method.inputs, result, method.keeps, returns=True)


def features_field(step: Step, features: dict[str, str]) -> tuple[Field, ...]:
    """Return the field of a step's features, where it returns results beside them."""
    return (Field("features", features[step.name], "For the steps that read them."),) if step.features else ()


def step_method(plan: Plan, step: Step, name: str, features: dict[str, str]) -> Method:
    scope = Scope(RESERVED)
    read = []
    for other in step.reads:
        argument = scope.take(f"features of {other}", "features" if len(step.reads) == 1 else f"{camel(other)}Features")
        read.append(Argument(argument, features[other], f"of `{other}`"))
    inputs = tuple((port.name, argument_of(scope, port)) for port in step.asked)
    return Method(name, step.name, False, tuple(read), inputs, features[step.name], bool(step.features), False)


def whole_method(plan: Plan, whole: Whole, name: str, result: str) -> Method:
    scope = Scope(RESERVED)
    asked = {port.name: port for one in whole.steps for port in plan.step(one).asked}
    inputs = tuple((port.name, argument_of(scope, port)) for port in asked.values())
    return Method(name, whole.name, True, (), inputs, result, keeps=False, returns=True)


def argument_of(scope: Scope, port: Port) -> Argument:
    kind = "Photo" if port.kind == "rgb-photo" else "Values"
    return Argument(scope.take(f"input {port.name}", camel(port.name)), kind, described(port))


def fields_of(plan: Plan, outputs: Sequence[str], keys: dict[str, str]) -> tuple[Field, ...]:
    ports = {port.name: port for step in plan.steps for port in step.entry.outputs}
    return tuple(Field(keys[name], tensor_type(ports[name]), described(ports[name])) for name in outputs)


def reference_shape(port: Port) -> tuple[int, ...]:
    """Return the shape in the reference's layout."""
    if port.layout == "NHWC" and port.reference_layout == "NCHW":
        return (port.shape[0], port.shape[3], port.shape[1], port.shape[2])
    return port.shape


def is_map(port: Port) -> bool:
    """Return whether an output has one element per pixel, as `outputOf` of sources/outputs.js tells it."""
    shape = reference_shape(port)
    return port.reference_layout == "NCHW" and len(shape) == 4 and shape[:2] == (1, 1)


def tensor_type(port: Port) -> str:
    plain = port.scale == 1 and not port.zero_point
    array = {"int32": "Int32Array", "int64": "Float64Array", "int8": "Int32Array", "bool": "Uint8Array"}
    array |= {"uint8": "Int32Array"}
    elements = array.get(port.dtype, "Float32Array") if plain else "Float32Array"
    kind = "MapTensor" if is_map(port) else "Tensor"
    return kind if elements == "Float32Array" else f"{kind}<{elements}>"


def described(port: Port) -> str:
    """Return shape, range and description of a tensor for a comment, on one line."""
    shape = f"[{', '.join(map(str, reference_shape(port)))}]"
    limits = f", {port.range[0]:g} to {port.range[1]:g}" if port.range else ""
    text = re.sub(r"\s+", " ", port.description).replace("*/", "* /").strip()
    kind = "A photo" if port.kind == "rgb-photo" else shape + limits
    return f"{kind}. {text}" if text else f"{kind}."
