"""Write text of others, such as a description in model.toml or a vendor's error, into Markdown as plain text."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Return `text` as one line of a paragraph that holds no markup which could run or pose as the document's own.

    Line breaks become blanks, so that no line starts a heading, a list or a block of code. HTML, links, images and
    fences are shown as they are written. Emphasis and other harmless markup stays.
    """
    line = " ".join(text.split())
    line = line.replace("&", "&amp;") if re.search(r"&#?\w+;", line) else line  # a lone & needs no escape
    line = line.replace("<", "&lt;")
    line = re.sub(r"`{3,}|~{3,}", lambda fence: "\\" + "\\".join(fence[0]), line)
    return line.replace("](", "]\\(")


def cell(text: str) -> str:
    """Return `text` as a cell of a table."""
    return plain(text).replace("|", "\\|")
