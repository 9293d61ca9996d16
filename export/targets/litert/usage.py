"""USAGE.md of a LiteRT artifact: Kotlin for Android, with the signatures of these files."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Template

from export.target import Emitted

TEMPLATE = Path(__file__).with_name("usage.md.j2")


def usage_kotlin(emitted: Emitted) -> str:
    entries = emitted.entries
    photos = [port for entry in entries for port in entry.inputs if port.kind == "rgb-photo"]
    first = next((entry for entry in entries if len(entry.modules) == 1 and entry.inputs[0].kind == "rgb-photo"), None)
    made = {port.name for port in first.outputs} if first else set()
    heads = [entry for entry in entries if {port.name for port in entry.inputs} <= made]
    template = Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text: str = template.render(
        entries=entries,
        files=list(dict.fromkeys(entry.file for entry in entries)),
        photo=photos[0] if photos else None,
        encoder=first,
        heads=heads,
        requires=emitted.requires,
    )
    return text
