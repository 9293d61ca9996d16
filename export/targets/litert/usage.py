"""Write USAGE.md of a LiteRT artifact: Kotlin for Android, with the signatures of its files."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Template

from export.target import Emitted
from hydramobile.preprocess import scale_code, scale_words

TEMPLATE = Path(__file__).with_name("usage.md.j2")


# Hard keywords, and the names that the function already has.
KOTLIN_KEYWORDS = frozenset((
    "as", "break", "class", "continue", "do", "else", "false", "for", "fun", "if", "in", "interface", "is", "null",
    "object", "package", "return", "super", "this", "throw", "true", "try", "typealias", "typeof", "val", "var",
    "when", "while", "features", "photo",
))  # fmt: skip


def identifier(name: str) -> str:
    """Return the name of an entry as a Kotlin identifier, with "_" behind a keyword."""
    changed = name.replace("-", "_")
    return f"{changed}_" if changed in KOTLIN_KEYWORDS else changed


def usage_kotlin(emitted: Emitted) -> str:
    """Render the template.

    The encoder is the first entry of one module that reads a photo. Heads are the entries that read only its outputs.
    """
    entries = emitted.entries
    photos = [port for entry in entries for port in entry.inputs if port.kind == "rgb-photo"]
    alone = (entry for entry in entries if len(entry.modules) == 1)
    encoder = next((entry for entry in alone if entry.inputs[0].kind == "rgb-photo"), None)
    features = {port.name for port in encoder.outputs} if encoder else set()
    heads = [entry for entry in entries if {port.name for port in entry.inputs} <= features]
    template = Template(TEMPLATE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    text: str = template.render(
        entries=entries,
        identifier=identifier,
        files=list(dict.fromkeys(entry.file for entry in entries)),
        photo=photos[0] if photos else None,
        words=scale_words(photos[0].range) if photos else "",
        scaled=scale_code("((pixel shr shift) and 255)", photos[0].range, "f") if photos else "",
        encoder=encoder,
        heads=heads,
        requires=emitted.requires,
    )
    return text
