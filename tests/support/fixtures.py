"""The types of the fixtures in tests/conftest.py, for tests to annotate their parameters with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

ModelDir = Callable[[str], Path]
Artifacts = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, NDArray[Any]]]
OwnModel = Callable[..., Path]
OutWith = Callable[..., Path]


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended: its exit code and its output."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> str:
        """The reason on the last line, "verdict: <code> <reason>", whose code is checked against the exit code."""
        lines = (self.out if "verdict: " in self.out else self.err).splitlines()
        assert lines, "nothing was printed"
        match = re.fullmatch(r"verdict: (\d) (.+)", lines[-1])
        assert match, f"the last line is no verdict: {lines[-1]!r}\n{self.err[-2000:]}"
        assert int(match[1]) == self.code
        return match[2]


class Command(Protocol):
    """`command("export", "onnx", "--out", path)` runs `python -m export onnx --out path`."""

    def __call__(
        self, package: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path = ...
    ) -> Finished: ...
