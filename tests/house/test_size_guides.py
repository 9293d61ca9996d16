"""Small files, short functions, few parameters: the guides, and the reviewed exceptions to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("hydramobile", "reference", "export", "benchmarks", "demo", "ship")
FILE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 6

# "path what" or "path::function what" -> (the limit granted, why it is better whole). One no longer needed fails.
EXCEPTIONS: dict[str, tuple[int, str]] = {
    "reference/__main__.py::train parameters": (7, "a flag each: data, validation, start, length, options, going on"),
    "export/__main__.py::make parameters": (7, "six flags, and the words before them"),
    "export/__main__.py::init parameters": (10, "a flag each, the folder and the origin of the net"),
    "ship/__main__.py::ship parameters": (7, "a flag each, and the words before them"),
    "benchmarks/__main__.py::parity parameters": (10, "--bisect asks more, --most and --lean less, --again anew"),
    "benchmarks/__main__.py::device parameters": (8, "a flag each"),
    "benchmarks/__main__.py::latency parameters": (9, "a flag each; --serve and --host measure the same elsewhere"),
    "benchmarks/__main__.py::grid parameters": (7, "a flag each"),
    "benchmarks/__main__.py::instructions parameters": (7, "a flag each"),
    "export/__main__.py::bundle parameters": (7, "one parameter per flag"),
    "reference/__main__.py::evaluate parameters": (8, "one parameter per flag"),
    "reference/__main__.py::synthesize parameters": (7, "one parameter per flag"),
    "ship/zoo/__main__.py::zoo parameters": (7, "one parameter per flag"),
    "benchmarks/__main__.py::compare parameters": (11, "two sides, and the flags of grid for timing them now"),
}


def measures(root: Path) -> Iterator[tuple[str, str, int, int]]:
    """(key, what, size, limit) of every file and function of the packages."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            text = path.read_text(encoding="utf-8")
            yield f"{name} lines", "lines", len(text.splitlines()), FILE_LINES
            for node in ast.walk(ast.parse(text, name)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    key = f"{name}::{node.name}"
                    yield f"{key} lines", "lines", (node.end_lineno or node.lineno) - node.lineno + 1, FUNCTION_LINES
                    yield f"{key} parameters", "parameters", parameters(node), PARAMETERS


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The parameters a caller writes: `self` and `cls` are not among them."""
    arguments = function.args
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
    return len([name for name in names if name not in ("self", "cls")])


def test_files_and_functions_stay_small(root: Path) -> None:
    too_large = [
        f"{key}: {size} {what}, at most {EXCEPTIONS.get(key, (limit, ''))[0]}"
        for key, what, size, limit in measures(root)
        if size > EXCEPTIONS.get(key, (limit, ""))[0]
    ]
    assert not too_large, "\n".join(too_large)


def test_exceptions_are_still_needed(root: Path) -> None:
    needed = {key for key, _, size, limit in measures(root) if size > limit}
    assert set(EXCEPTIONS) <= needed, f"no longer needed: {sorted(set(EXCEPTIONS) - needed)}"
    assert all(reason for _, reason in EXCEPTIONS.values())
