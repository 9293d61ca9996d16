"""Name the Swift surface of a package: its methods, their parameters, the types of their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.bundle.names import Scope, camel, pascal
from export.bundle.plan import PHOTO, STAGE, Plan, Step, Whole
from hydramobile.artifact import Port
from hydramobile.errors import StageError

KEYWORDS = frozenset((
    "Any", "Protocol", "Self", "Type", "actor", "as", "associatedtype", "async", "await", "break", "case", "catch",
    "class", "continue", "default", "defer", "deinit", "do", "else", "enum", "extension", "fallthrough", "false",
    "fileprivate", "for", "func", "guard", "if", "import", "in", "init", "inout", "internal", "is", "let", "nil",
    "open", "operator", "package", "private", "precedencegroup", "protocol", "public", "repeat", "rethrows", "return",
    "self", "static", "struct", "subscript", "super", "switch", "throw", "throws", "true", "try", "typealias", "var",
    "where", "while",
))  # fmt: skip
# What the template itself names: members of the actor, locals of its methods, types inside it and around it.
MEMBERS = KEYWORDS | {"close", "engine", "fallbacks", "outputs", "unownedExecutor"}
TYPES = KEYWORDS | frozenset((
    "Array", "Bool", "Double", "Engine", "Error", "Fallback", "Float", "Int", "Int32", "Manifest", "Map", "Module",
    "ModuleOutputs", "Optional", "Options", "Photo", "Result", "Sendable", "Size", "Step", "String", "Task", "Tensor",
))  # fmt: skip
# The types of tensors that Core ML has.
ELEMENTS = ("float16", "float32", "float64", "int32")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a method, and the expression that makes an input of the engine from it ("" for features)."""

    source: str
    label: str
    name: str
    type: str
    text: str
    input: str = ""

    @property
    def declaration(self) -> str:
        names = self.name if self.label == self.name else f"{self.label} {self.name}"
        return f"{names}: {self.type}"

    def argument(self, value: str) -> str:
        """Return the argument of a call."""
        return value if self.label == "_" else f"{self.label}: {value}"


@dataclass(frozen=True, slots=True)
class Field:
    """An output of the net in a result. A map is an output of one channel in two dimensions."""

    port: Port
    name: str
    map: tuple[int, int] | None

    @property
    def type(self) -> str:
        return "Map" if self.map else "Tensor"


@dataclass(frozen=True, slots=True)
class Method:
    """A method that runs one module."""

    step: Step
    name: str
    case: str
    type: str
    parameters: tuple[Parameter, ...]
    fields: tuple[Field, ...]

    @property
    def declaration(self) -> str:
        return ", ".join(parameter.declaration for parameter in self.parameters)

    @property
    def reading(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if not parameter.input)

    @property
    def given(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.input)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method inside another one: `let <variable> = try await <method>(<arguments>)`."""

    variable: str
    method: Method
    arguments: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A method that calls others in order and gathers fields of their results."""

    name: str
    type: str
    parameters: tuple[Parameter, ...]
    calls: tuple[Call, ...]
    fields: tuple[tuple[str, Field], ...]

    @property
    def declaration(self) -> str:
        return ", ".join(parameter.declaration for parameter in self.parameters)

    @property
    def gathered(self) -> str:
        return ", ".join(f"{field.name}: {source}" for source, field in self.fields)


@dataclass(frozen=True, slots=True)
class Surface:
    methods: tuple[Method, ...]
    chains: tuple[Chain, ...]


def surface(plan: Plan) -> Surface:
    """Return the surface of a plan. Raises StageError("bundle") for a tensor that Core ML cannot take from an app."""
    functions, types, cases = Scope(MEMBERS), Scope(TYPES | {plan.package}), Scope(KEYWORDS | {"allCases", "rawValue"})
    names = {step.name: types.take(f"step {step.name}", result_type(step)) for step in plan.steps}
    methods: dict[str, Method] = {}
    for step in plan.steps:
        methods[step.name] = Method(
            step,
            functions.take(f"step {step.name}", step.verb),
            cases.take(step.name, camel(step.name)),
            names[step.name],
            parameters(step, names),
            fields(step),
        )
    chains = [
        chain(
            [methods[name] for name in whole.steps],
            functions.take(f"whole {whole.name}", whole.verb),
            types.take(f"whole {whole.name}", pascal(whole.name) + "Result"),
            whole,
        )
        for whole in plan.wholes
    ]
    return Surface(tuple(methods.values()), tuple(chains))


def result_type(step: Step) -> str:
    return pascal(step.name) + ("Features" if step.features else "Result")


def parameters(step: Step, types: dict[str, str]) -> tuple[Parameter, ...]:
    """Return one parameter per step that this one reads, and one per input that the caller gives.

    The only features, or else the only photo of a step without features, have no label.
    """
    scope = Scope(MEMBERS)
    result = []
    for name in step.reads:
        single = len(step.reads) == 1
        identifier = "features" if single else camel(name)
        local = scope.take(f"step {name}", identifier)
        text = f"What `{name}` returned."
        result.append(Parameter(name, "_" if single else local, local, types[name], text))
    alone = len(step.asked) == 1 and not step.reads
    return (*result, *(asked_parameter(port, scope, alone) for port in step.asked))


def asked_parameter(port: Port, scope: Scope, alone: bool) -> Parameter:
    text = port.description.strip() or f"The input `{port.name}`."
    if port.kind == PHOTO:
        if port.dtype != "uint8":
            raise StageError(STAGE, f"the photo {port.name!r} is a tensor of {port.dtype} in the file, not an image")
        name = "photo" if alone else scope.take(port.name, camel(port.name))
        return Parameter(port.name, "_" if alone else name, name, "Photo", text, f".photo({name})")
    if port.dtype not in ELEMENTS:
        raise StageError(STAGE, f"Core ML takes no tensors of {port.dtype} from an app: {port.name!r}")
    name = scope.take(port.name, camel(port.name))
    indices = port.dtype == "int32" and port.scale == 1 and not port.zero_point
    kind = "integers" if indices else "floats"
    shape = " x ".join(map(str, reference_shape(port))) or "1"
    text = f"{text} {shape} elements, in this order of axes."
    return Parameter(port.name, name, name, "[Int32]" if indices else "[Float]", text, f".elements(.{kind}({name}))")


def fields(step: Step) -> tuple[Field, ...]:
    scope = Scope(MEMBERS)
    ports = [port for port in step.entry.outputs if port.name in step.results]
    return tuple(Field(port, scope.take(port.name, camel(port.name)), map_size(port)) for port in ports)


def axes(port: Port) -> tuple[int, ...]:
    """Return, for each axis of the reference's tensor, the axis of the file's."""
    if port.layout == "NHWC" and port.reference_layout == "NCHW":
        return (0, 3, 1, 2)
    return tuple(range(len(port.shape)))


def reference_shape(port: Port) -> tuple[int, ...]:
    return tuple(port.shape[axis] for axis in axes(port))


def map_size(port: Port) -> tuple[int, int] | None:
    """Return (width, height) of an output of one channel in two dimensions, None for another one."""
    shape = reference_shape(port)
    if port.reference_layout != "NCHW" or len(shape) != 4 or shape[:2] != (1, 1) or min(shape[2:]) < 2:
        return None
    return shape[3], shape[2]


def chain(methods: Sequence[Method], name: str, type_name: str, whole: Whole) -> Chain:
    """Return the method that runs a fused entry's modules one after the other."""
    return make_chain(methods, name, type_name, whole.outputs)


def make_chain(methods: Sequence[Method], name: str, type_name: str, outputs: Sequence[str]) -> Chain:
    scope = Scope(MEMBERS)
    asked = {port.name: port for method in methods for port in method.step.asked}
    given = {port: asked_parameter(asked[port], scope, alone=len(asked) == 1) for port in asked}
    variables: dict[str, str] = {}
    calls = []
    for method in methods:
        values = [
            parameter.argument(variables[parameter.source] if not parameter.input else given[parameter.source].name)
            for parameter in method.parameters
        ]
        variable = scope.take(f"result of {method.step.name}", f"{camel(method.step.name)}Outputs")
        variables[method.step.name] = variable
        calls.append(Call(variable, method, ", ".join(values)))
    rows = {
        field.port.name: (f"{variables[method.step.name]}.{field.name}", field)
        for method in methods
        for field in method.fields
    }
    own = Scope(MEMBERS)
    gathered = tuple(
        (rows[output][0], Field(rows[output][1].port, own.take(output, camel(output)), rows[output][1].map))
        for output in outputs
        if output in rows
    )
    return Chain(name, type_name, tuple(given.values()), tuple(calls), gathered)
