"""The table of `doctor`: which runtimes can run here, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from benchmarks.evidence.row import Label
from benchmarks.runtime import REGISTRY, load_runtime
from benchmarks.show.terminal import wide


@dataclass(frozen=True, slots=True)
class DoctorRow:
    """One runtime: its targets, its versions, and why it cannot run here ("" if it can)."""

    runtime: str
    runs: str
    evidence: Label
    version: str
    unavailable: str


def doctor_rows() -> list[DoctorRow]:
    rows = []
    for name in REGISTRY:
        runtime = load_runtime(name)
        missing = runtime.unavailable()
        versions = "" if missing else ", ".join(f"{key} {value}" for key, value in runtime.version().items())
        runs = ", ".join(runtime.targets) or "the reference"
        rows.append(DoctorRow(name, runs, runtime.evidence, versions, missing or ""))
    return rows


def doctor_table(rows: Iterable[DoctorRow]) -> None:
    table = Table("runtime", "runs", "evidence", "version", "here")
    for row in rows:
        here = Text(f"no: {row.unavailable}", "yellow") if row.unavailable else Text("yes", "green")
        table.add_row(row.runtime, row.runs, row.evidence, row.version, here)
    wide().print(table)
