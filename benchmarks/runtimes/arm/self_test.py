"""What every ARM run begins with: two small static-int8 files give bit for bit what they give on x86.

Integer arithmetic has one right answer, so any difference is the emulator's: qemu 7.2's `-cpu max`, for one, gets
LiteRT's int8 wrong without a word. The files are the classifier of the tests at w8a8, exported by this project;
expected.json holds what LiteRT and ONNX Runtime computed from them on x86, and a test compares it with what they
compute there today.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError

Array = NDArray[Any]
FOLDER = Path(__file__).with_name("int8")


class Opened(Protocol):
    def bind(self, feeds: Mapping[str, Array]) -> None: ...

    def invoke(self) -> None: ...

    def fetch(self) -> dict[str, Array]: ...

    def close(self) -> None: ...


class Open(Protocol):
    def __call__(self, engine: str, file: Path, function: str, outputs: Sequence[str]) -> Opened: ...


@dataclass(frozen=True, slots=True)
class Case:
    """One file, the library that runs it, and the outputs it must give for `image`."""

    engine: str
    file: Path
    function: str
    given: str
    shape: tuple[int, ...]
    made: str
    values: tuple[float, ...]

    def image(self) -> Array:
        """Values in [0, 1] that need no generator: whole numbers over 255."""
        count = int(np.prod(self.shape))
        grid = np.arange(count, dtype=np.int64)
        return ((grid * grid * 7919 + grid * 104729) % 256 / 255).astype(np.float32).reshape(self.shape)


def cases() -> list[Case]:
    rows = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
    return [
        Case(
            row["engine"],
            FOLDER / row["file"],
            row["function"],
            row["given"],
            tuple(row["shape"]),
            row["made"],
            tuple(row["values"]),
        )
        for row in rows
    ]


def check(open_job: Open, engine: str) -> None:
    """Raises StageError("self-test") when a result of `engine` differs, saying by how much."""
    for case in (case for case in cases() if case.engine == engine):
        job = open_job(case.engine, case.file, case.function, [case.made])
        job.bind({case.given: case.image()})
        job.invoke()
        found = job.fetch()[case.made].astype(np.float32).ravel()
        job.close()
        expected = np.array(case.values, np.float32)
        if found.shape != expected.shape or not np.array_equal(found, expected):
            error = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("nan")
            raise StageError(
                "self-test",
                f"static int8 ({case.file.name}) differs from x86 by {error:.3g} where it must be equal bit for bit: "
                "the emulator computes wrongly, and no number of it can be trusted",
            )
