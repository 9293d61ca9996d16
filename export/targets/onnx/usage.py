"""USAGE.md of an ONNX artifact: JavaScript for onnxruntime-web, runnable as it stands in Node and the browser."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Template

from export.target import Emitted

TEMPLATE = Path(__file__).with_name("usage.md.j2")


def usage_javascript(emitted: Emitted) -> str:
    entries = emitted.entries
    photos = [port for entry in entries for port in entry.inputs if port.kind == "rgb-photo"]
    first = next((entry for entry in entries if entry.inputs and entry.inputs[0].kind == "rgb-photo"), None)
    made = {port.name for port in first.outputs} if first else set()
    head = next((entry for entry in entries if made and {port.name for port in entry.inputs} <= made), None)
    template = Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text: str = template.render(
        entries=entries, photo=photos[0] if photos else None, chain=(first, head) if head else None
    )
    return text
