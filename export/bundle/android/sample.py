"""Choose what the sample app and the test from pixels of a package run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.bundle.android.kotlin import ARRAYS, Field, Net
from export.bundle.plan import PHOTO, Plan, Step, Whole
from hydramobile.artifact import Port


@dataclass(frozen=True, slots=True)
class Sample:
    """The one call of the sample app: `code` gives a result, of which it shows `field`.

    `plane` says that the field is a map with one channel, in which the user drags the focus.
    """

    photo: bool
    plane: bool
    code: str
    field: str
    text: str
    words: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One output of the test from pixels: the result's field, the step's constant, the golden's file and tolerance."""

    field: str
    port: Port
    step: str
    file: str
    allowed: float


@dataclass(frozen=True, slots=True)
class FromPixels:
    """A method that takes one photo and nothing else, and whose golden photo is exact in bytes."""

    verb: str
    outputs: tuple[Compared, ...]


def choose_sample(net: Net) -> Sample:
    """Return the call that shows most: a map of a photo where the net has one, else any result."""
    candidates: list[tuple[str, Field, list[Port]]] = []
    for whole, method in zip(net.plan.wholes, net.wholes, strict=True):
        asked = asked_by(net.plan, whole)
        call = f"loaded().{method.verb}({arguments(asked)})"
        candidates += [(call, field, asked) for field, _ in method.fields]
    for step, one in zip(net.plan.steps, net.methods, strict=True):
        chain = chain_of(net.plan, step)
        asked = [port for item in chain for port in item.asked]
        candidates += [(nested(net, chain), field, asked) for field in one.fields]

    def rank(candidate: tuple[str, Field, list[Port]]) -> tuple[bool, bool]:
        _, field, asked = candidate
        photo = any(port.kind == PHOTO for port in asked)
        return (not (photo and field.type == "Plane"), not photo)

    code, field, asked = min(candidates, key=rank)
    photo = any(port.kind == PHOTO for port in asked)
    plane = photo and field.type == "Plane"
    words = "pick a photo, drag the focus" if plane else "pick a photo" if photo else "run the net on zeros"
    text = (
        "(0 until result.values.remaining()).sortedByDescending { result[it] }.take(5)"
        '.joinToString("\\n") { "$it: ${result[it]}" }'
    )
    return Sample(photo, plane, code, field.name, text, words)


def asked_by(plan: Plan, whole: Whole) -> list[Port]:
    """Return the inputs of a fused entry's method, each once."""
    ports = [port for name in whole.steps for port in plan.step(name).asked]
    return list({port.name: port for port in ports}.values())


def chain_of(plan: Plan, last: Step) -> list[Step]:
    """Return the steps that must run for `last`, in order, `last` included."""
    needed = {last.name}
    for step in reversed(plan.steps):
        if step.name in needed:
            needed |= set(step.reads)
    return [step for step in plan.steps if step.name in needed]


def nested(net: Net, chain: list[Step]) -> str:
    """Return an expression that runs a chain of steps and closes the features in between."""
    methods = {method.name: method for method in net.methods}
    variables = {step.name: f"features{index}" for index, step in enumerate(chain)}

    def call(step: Step) -> str:
        given = arguments(step.asked)
        words = [*(variables[name] for name in step.reads), *([given] if given else [])]
        return f"{methods[step.name].verb}({', '.join(words)})"

    code = call(chain[-1])
    for step in reversed(chain[:-1]):
        code = f"{call(step)}.use {{ {variables[step.name]} -> {code} }}"
    return f"loaded().run {{ {code} }}"


def arguments(ports: Sequence[Port]) -> str:
    """Return the arguments of a call: the photo, and the lowest allowed element for all other inputs."""
    return ", ".join(lowest(port) for port in ports)


def lowest(port: Port) -> str:
    """Return an argument whose elements are 0, or the low end of the range where 0 is outside."""
    if port.kind == PHOTO:
        return "photo"
    quantized = port.scale != 1 or port.zero_point != 0 or port.dtype not in ARRAYS
    scalar, array, _ = ARRAYS["float32" if quantized else port.dtype]
    zero = {"Float": "0f", "Int": "0", "Long": "0L", "Boolean": "false"}[scalar]
    if port.range and not port.range[0] <= 0 <= port.range[1]:
        zero = {"Float": f"{port.range[0]!r}f", "Int": f"{int(port.range[0])}", "Long": f"{int(port.range[0])}L"}[
            scalar
        ]
    if not port.shape:
        return zero
    count = int(np.prod(port.shape))
    return f"{array}({count})" if zero[0] in "0f" else f"{array}({count}) {{ {zero} }}"


def from_pixels(net: Net) -> FromPixels | None:
    """Return the method to test from pixels, or None where no golden photo is exact in bytes."""
    plan = net.plan
    for whole, method in zip(plan.wholes, net.wholes, strict=True):
        asked = asked_by(plan, whole)
        if len(asked) == 1 and asked[0].kind == PHOTO and golden_is_bytes(plan, whole.name, asked[0]):
            steps = {
                port.name: step for name in whole.steps for step in [plan.step(name)] for port in step.entry.outputs
            }
            rows = [(field, steps[field.port.name].name) for field, _ in method.fields]
            return FromPixels(method.verb, compared(net, whole.name, rows))
    for step, one in zip(plan.steps, net.methods, strict=True):
        alone = len(step.sources) == 1 and len(step.photos) == 1 and not step.features
        if alone and golden_is_bytes(plan, step.name, step.photos[0]):
            return FromPixels(one.verb, compared(net, step.name, [(field, step.name) for field in one.fields]))
    return None


def compared(net: Net, entry: str, rows: list[tuple[Field, str]]) -> tuple[Compared, ...]:
    golden = net.plan.golden["entries"][entry]["outputs"]
    return tuple(
        Compared(
            field.name,
            field.port,
            net.constants[step],
            golden[field.port.file_name]["file"],
            golden[field.port.file_name]["mean_abs"],
        )
        for field, step in rows
        if field.type != "Integers"
    )


def golden_is_bytes(plan: Plan, entry: str, port: Port) -> bool:
    """Return whether a golden photo holds elements that bytes become, so that a bitmap can hold it."""
    golden = plan.golden["entries"].get(entry)
    if golden is None or port.scale != 1 or port.dtype != "float32":
        return golden is not None and port.dtype in ("int8", "uint8")
    path = plan.folder / plan.artifact.golden["folder"] / golden["inputs"][port.file_name]["file"]
    low, high = port.range or (0.0, 1.0)
    levels = (np.fromfile(path, "<f4").astype(np.float64) - low) / (high - low) * 255
    return bool(np.abs(levels - np.round(levels)).max() < 1e-3)
