"""Write the body of USAGE.md: the raw use of these packages in Swift, with their real names and shapes."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Template

from export.target import Emitted
from hydramobile.artifact import Port

TEMPLATE = Path(__file__).with_name("usage.md.j2")


def usage_text(emitted: Emitted) -> str:
    """Return Markdown: the tensors, the systems, and Swift that loads, runs and checks the modules."""
    primary = [entry for entry in emitted.entries if not entry.variant]
    modules = [entry for entry in primary if len(entry.modules) == 1]
    photo = next((port for entry in primary for port in entry.inputs if port.dtype == "uint8"), None)
    returned = {port.name for entry in modules for port in entry.outputs}
    template = Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    file = primary[0].file
    text: str = template.render(
        entries=primary,
        checked=modules or primary,
        fused=[entry for entry in primary if len(entry.modules) > 1] if modules else [],
        edges=any(port.name in returned for entry in modules for port in entry.inputs),
        separate=[entry.file for entry in emitted.entries if entry.variant == "separate"],
        functions=primary[0].function is not None,
        file=file,
        stem=literal(file.rpartition("/")[2].removesuffix(".mlpackage")),
        requires=emitted.requires,
        photo=photo,
        limits="[{:g}, {:g}]".format(*(photo.range or (0, 1))) if photo else "",
        form=form,
        literal=literal,
    )
    return text


def form(port: Port) -> str:
    """Return the shape and dtype of a tensor in words."""
    if port.dtype == "uint8":
        return f"image, {port.shape[2]} x {port.shape[1]} (width x height), 8-bit RGB"
    return f"{port.dtype} {list(port.shape)}"


def literal(text: str) -> str:
    """Return a Swift string literal. Names of entries and files hold no control characters."""
    return json.dumps(text, ensure_ascii=False)
