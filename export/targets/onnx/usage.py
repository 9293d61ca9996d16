"""Write USAGE.md of an ONNX artifact: JavaScript for onnxruntime-web that runs unchanged in Node and in a browser."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Template

from export.target import Emitted
from hydramobile.preprocess import scale_code, scale_words

TEMPLATE = Path(__file__).with_name("usage.md.j2")


def usage_javascript(emitted: Emitted) -> str:
    """Return the text. It shows an encoder followed by a head where the artifact has both as entries."""
    entries = emitted.entries
    photos = [port for entry in entries for port in entry.inputs if port.kind == "rgb-photo"]
    encoder = next((entry for entry in entries if entry.inputs and entry.inputs[0].kind == "rgb-photo"), None)
    features = {port.name for port in encoder.outputs} if encoder else set()
    head = next((entry for entry in entries if features and {port.name for port in entry.inputs} <= features), None)
    template = Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text: str = template.render(
        entries=entries,
        photo=photos[0] if photos else None,
        words=scale_words(photos[0].range) if photos else "",
        scaled=scale_code("rgba[4 * i + c]", photos[0].range) if photos else "",
        chain=(encoder, head) if head else None,
        map=next(
            (port for entry in entries for port in entry.outputs if len(port.shape) == 4 and port.shape[:2] == (1, 1)),
            None,
        ),
    )
    return text
