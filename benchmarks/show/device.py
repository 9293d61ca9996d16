"""The table of `device` on a terminal."""

from __future__ import annotations

from rich.table import Column, Table
from rich.text import Text

from benchmarks.device.run import Measured
from benchmarks.show.terminal import wide


def device_table(measured: Measured) -> None:
    """Print failed comparisons, then one row per entry and configuration; times of an emulator are not shown."""
    console = wide()
    for row in measured.parity:
        if row.verdict != "pass":
            where = " ".join(filter(None, (row.target, row.recipe, row.entry, row.mode, row.stage)))
            console.print(Text.assemble(f"{where}: ", (row.verdict, "red"), f", {row.reason}"), highlight=False)
    passed = [row for row in measured.parity if row.verdict == "pass"]
    labels = ", ".join(sorted({row.evidence for row in measured.parity}))
    console.print(f"parity: {len(passed)} of {len(measured.parity)} comparisons hold (evidence: {labels})")
    names = (Column("artifact", no_wrap=True), Column("configuration", no_wrap=True), Column("entry", no_wrap=True))
    figures = (Column(name, justify="right") for name in ("mean ms", "p50", "first", "init"))
    table = Table(*names, *figures, "or why not")
    for line in measured.evidence.results:
        if line.verdict != "measured":
            console.print(
                Text.assemble(f"{line.name}: ", (line.verdict, "yellow"), f", {line.reason}"), highlight=False
            )
            continue
        for configuration in line.configurations:
            for entry in configuration.entries:
                times = map(milliseconds, (entry.mean_ms, entry.p50_ms, entry.first_ms, entry.init_ms))
                table.add_row(line.name, configuration.configuration, entry.entry, *times, entry.reason)
    console.print(table)


def milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
