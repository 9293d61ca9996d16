"""Test the emulator before every ARM run: two small static int8 files must give the outputs that they give on x86.

Integer arithmetic has one right answer, so the outputs must be equal to the bit, and any difference is the emulator's.
qemu 7.2's `-cpu max`, for example, gets LiteRT's int8 wrong without an error. The files are the tests' classifier at
w8a8, exported by this project. expected.json holds the outputs of LiteRT and ONNX Runtime on x86, and a test compares
it with what they compute there today.
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
    """A file that is open in the emulator."""

    def bind(self, feeds: Mapping[str, Array]) -> None: ...

    def invoke(self) -> None: ...

    def fetch(self) -> dict[str, Array]: ...

    def close(self) -> None: ...


class Open(Protocol):
    """Open a function of a file in the emulator."""

    def __call__(self, engine: str, file: Path, function: str, outputs: Sequence[str]) -> Opened: ...


@dataclass(frozen=True, slots=True)
class Case:
    """Describe one file: the library that runs it, its input `given`, and the `values` of its output `made`."""

    engine: str
    file: Path
    function: str
    given: str
    shape: tuple[int, ...]
    made: str
    values: tuple[float, ...]

    def image(self) -> Array:
        """Return an input in [0, 1] that needs no random generator: integers over 255."""
        count = int(np.prod(self.shape))
        grid = np.arange(count, dtype=np.int64)
        return ((grid * grid * 7919 + grid * 104729) % 256 / 255).astype(np.float32).reshape(self.shape)


def cases() -> list[Case]:
    """Read expected.json."""
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
    """Run the file of `engine`. Raises StageError("self-test") where its output differs, with the largest error."""
    for case in (case for case in cases() if case.engine == engine):
        job = open_job(case.engine, case.file, case.function, [case.made])
        job.bind({case.given: case.image()})
        job.invoke()
        output = job.fetch()[case.made].astype(np.float32).ravel()
        job.close()
        expected = np.array(case.values, np.float32)
        if output.shape != expected.shape or not np.array_equal(output, expected):
            error = float(np.abs(output - expected).max()) if output.shape == expected.shape else float("nan")
            raise StageError(
                "self-test",
                f"static int8 ({case.file.name}) differs from x86 by {error:.3g} where it must be equal bit for bit: "
                "the emulator computes wrongly, and no number of it can be trusted",
            )
