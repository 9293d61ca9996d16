"""The table of `size` on a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from benchmarks.evidence.size import SizeEvidence
from benchmarks.show.terminal import megabytes, wide


def size_table(evidence: SizeEvidence) -> None:
    """Print one row per artifact: the bytes that an app ships, and the weights by storage dtype."""
    table = Table("target", "recipe", "an app ships", "gzip", "above one copy of the weights", "weights")
    for row in evidence.results:
        if row.verdict == "failed":
            table.add_row(row.target, row.recipe, Text("failed", "red"), "", "", f"{row.stage}: {row.reason}")
            continue
        over = row.shared.over_one_copy
        shown = ", ".join(f"{name} {megabytes(count)}" for name, count in row.weights.items())
        zipped = megabytes(row.ships.gzip) if row.ships.gzip else ""
        above = "" if over is None else f"{over:+.1%}"
        table.add_row(row.target, row.recipe, megabytes(row.ships.bytes), zipped, above, shown or row.reason)
    wide().print(table)
