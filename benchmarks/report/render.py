"""Render the report from its templates: one file that needs no other, with one script of its own (the filter)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import words
from benchmarks.report.glossary import Terms, slug
from hydramobile.hints import hints
from hydramobile.markdown import cell, plain

TEMPLATES = Path(__file__).with_name("templates")


def render(name: str, context: Mapping[str, Any]) -> str:
    """Render the template `name`, report.html or report.md; text is escaped in both."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=None if name.endswith(".html") else without_html,
    )
    environment.filters |= {
        "slug": slug,
        "mb": words.megabytes,
        "ms": words.milliseconds,
        "percent": words.percent,
        "used": words.used,
        "cell": lambda text: cell(str(text)),
        "plain": plain,
        "inline": Markup,  # charts, drawn by this program
    }
    terms = Terms(context["recipes"])
    environment.globals |= {
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        "term": terms.term,
        "recipe": terms.named,
    }
    return hints(environment.get_template(f"{name}.j2").render(context))


def without_html(value: Any) -> Any:
    """Return a value of a Markdown template without HTML: names of files and samples are text of others too."""
    return value.replace("<", "&lt;") if isinstance(value, str) else value
