"""Write the sample app of a package: pick a photo, drag the focus over a map, or read the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.bundle.ios.surface import Chain, Field, Method, Parameter, Surface, make_chain, reference_shape
from export.bundle.package import Content
from export.bundle.plan import PHOTO, Plan

TEMPLATES = Path(__file__).parent / "templates" / "sample"
APP = "samples/ios/Sample.swiftpm"

Render = Callable[[Path, dict[str, Any]], str]


def sample_files(values: dict[str, Any], render: Render) -> dict[str, Content]:
    """Return the files of the sample by their path in the package."""
    plan, methods = values["plan"], values["surface"]
    takes_photo = any(port.kind == PHOTO for port in asked_ports(plan))
    focus = first_map(methods) if takes_photo else None
    chain = shown_chain(methods, focus)
    own = {
        **values,
        "calls": chain.calls,
        "arguments": [argument(plan, parameter) for parameter in chain.parameters],
        "results": chain.fields,
        "map": chain.fields[0] if focus else None,
        "takes_photo": takes_photo,
    }
    return {
        f"{APP}/Package.swift": render(TEMPLATES / "Package.swift.j2", own),
        f"{APP}/SampleApp.swift": render(TEMPLATES / "SampleApp.swift.j2", own),
        f"{APP}/SampleModel.swift": render(TEMPLATES / "SampleModel.swift.j2", own),
        f"{APP}/FocusPicture.swift": render(TEMPLATES / "FocusPicture.swift.j2", own),
    }


def first_map(methods: Surface) -> tuple[Method, Field] | None:
    """Return the first output that is a map, with its method."""
    return next(((method, field) for method in methods.methods for field in method.fields if field.map), None)


def shown_chain(methods: Surface, focus: tuple[Method, Field] | None) -> Chain:
    """Return the calls that the sample shows: the modules behind its map, or else all, in order."""
    if focus is None:
        outputs = [field.port.name for method in methods.methods for field in method.fields]
        return make_chain(methods.methods, "run", "Run", list(dict.fromkeys(outputs)))
    needed = {focus[0].step.name}
    for method in reversed(methods.methods):
        if method.step.name in needed:
            needed |= set(method.step.reads)
    chosen = [method for method in methods.methods if method.step.name in needed]
    return make_chain(chosen, "run", "Run", [focus[1].port.name])


def asked_ports(plan: Plan) -> list[Any]:
    return [port for step in plan.steps for port in step.asked]


def argument(plan: Plan, parameter: Parameter) -> tuple[str, str]:
    """Return the name and the value of an input in the sample: the picked photo, or zeros."""
    if parameter.type == "Photo":
        return parameter.name, "photo"
    port = next(port for port in asked_ports(plan) if port.name == parameter.source)
    count = 1
    for size in reference_shape(port):
        count *= size
    least = port.range[0] if port.range else 0
    value = int(least) if parameter.type == "[Int32]" else float(least)
    return parameter.name, f"{parameter.type}(repeating: {value}, count: {count})"
