"""Name the line of the user's code behind a node or an error: "net.py:12, 'return self.up(x) * 900'"."""

from __future__ import annotations

import linecache
import re
import traceback
from pathlib import Path
from textwrap import shorten
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx

OWN = Path(__file__).resolve().parents[2]
HERE = tuple(f"{OWN / name}/" for name in ("export", "hydramobile"))
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*\n\s*(?P<code>[^\n]*)')
# A note names at most so many characters of a line.
CODE = 80


def node_line(node: fx.Node) -> str:
    """Return the innermost line of the user's code that a node was exported from; "" where torch recorded none."""
    trace = str(node.meta.get("stack_trace") or "")
    frames = [frame for frame in FRAME.finditer(trace) if is_user_file(frame["file"])]
    return line_text(frames[-1]["file"], frames[-1]["line"], frames[-1]["code"]) if frames else ""


def node_place(node: fx.Node) -> str:
    """Return `node_line`, or the node's name where it is unknown."""
    return node_line(node) or f"node {node.name!r}"


def error_line(trace: TracebackType | None) -> str:
    """Return the innermost frame of a traceback in the user's code; "" where there is none."""
    frames = [frame for frame in traceback.extract_tb(trace) if is_user_file(frame.filename)]
    if not frames:
        return ""
    number = frames[-1].lineno or 0
    return line_text(frames[-1].filename, number, linecache.getline(frames[-1].filename, number))


def line_text(file: str, number: int | str, code: str) -> str:
    return f"{Path(file).name}:{number}, {shorten(code, CODE, placeholder=' ...')!r}"


def is_user_file(name: str) -> bool:
    """Return whether a file is neither generated code, nor this project's, nor torch's, nor contextlib."""
    if name.startswith(("<", *HERE)):
        return False
    return "site-packages/torch/" not in name.replace("\\", "/") and not name.endswith("/contextlib.py")
