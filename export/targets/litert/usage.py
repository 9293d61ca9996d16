"""Write USAGE.md of a LiteRT artifact: the raw use of its files in Kotlin, with the names of their signatures."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Template

from export.target import Emitted
from hydramobile.preprocess import scale_words

TEMPLATE = Path(__file__).with_name("usage.md.j2")


def literal(text: str) -> str:
    """Return a string literal of Kotlin, in which "$" begins a template."""
    return json.dumps(text).replace("$", "\\$")


def usage_kotlin(emitted: Emitted) -> str:
    """Render the template."""
    entries = emitted.entries
    photos = [port for entry in entries for port in entry.inputs if port.kind == "rgb-photo"]
    template = Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text: str = template.render(
        entries=entries,
        literal=literal,
        files=list(dict.fromkeys(entry.file for entry in entries)),
        photo=photos[0] if photos else None,
        words=scale_words(photos[0].range) if photos else "",
        requires=emitted.requires,
    )
    return text
