"""Render the report from its templates: one file that needs no other, with one script of its own (the filter)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import words
from benchmarks.report.glossary import Terms, slug

TEMPLATES = Path(__file__).with_name("templates")


def render(name: str, context: Mapping[str, Any]) -> str:
    """Render the template `name`, report.html or report.md; text is escaped in HTML only."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "slug": slug,
        "mb": words.megabytes,
        "ms": words.milliseconds,
        "percent": words.percent,
        "used": words.used,
        "cell": table_cell,
        "inline": Markup,  # charts, drawn by this program
    }
    terms = Terms(context["recipes"])
    environment.globals |= {
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        "term": terms.term,
        "recipe": terms.named,
    }
    return environment.get_template(f"{name}.j2").render(context)


def table_cell(text: Any) -> str:
    """Escape text so that it cannot end a cell or a line of a Markdown table."""
    return " ".join(str(text).replace("|", "\\|").split())
