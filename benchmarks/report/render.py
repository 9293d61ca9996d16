"""The page from its templates: one file, nothing fetched, no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import words

TEMPLATES = Path(__file__).with_name("templates")


def render(name: str, context: Mapping[str, Any]) -> str:
    """`name` is report.html or report.md; texts are escaped in the former only."""
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
        "mb": words.megabytes,
        "ms": words.milliseconds,
        "percent": words.percent,
        "used": words.used,
        "cell": table_cell,
        "inline": Markup,  # charts, drawn by this program
    }
    environment.globals["style"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment.get_template(f"{name}.j2").render(context)


def table_cell(text: Any) -> str:
    """Text that cannot end a Markdown table's cell or line."""
    return " ".join(str(text).replace("|", "\\|").split())
