"""Print the table of `ship`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ship.rows import ShipRow

WIDTH = 1000
STYLE = {"pass": "green", "refused": "yellow", "broken": "red", "failed": "red", "unjudged": "yellow"}


def ship_lines(rows: Sequence[ShipRow], report: str, bundles: Sequence[str] = ()) -> None:
    """Print one row per file, where the files and the report are, and the commands of `bundle_lines`."""
    table = Table(
        "target", "recipe", "size", "verdict", "nearest limit, or the fault", "next", box=None, pad_edge=False
    )
    for group in same_fault(rows):
        row = group[0]
        size = f"{row.megabytes:.2f} MB" if row.file else ""
        stage = f"{row.stage}: " if row.stage else ""
        one = len({item.recipes for item in group}) == 1
        lines = [", ".join(item.recipes) for item in group]
        table.add_row(
            (", " if one else "; ").join(item.target for item in group),
            lines[0] if one else "; ".join(lines),
            size,
            Text(row.verdict, STYLE[row.verdict]),
            stage + row.limit,
            row.next,
        )
    console = Console(markup=False)
    # Files and comments on pull requests get one line per file.
    wide = console if console.is_terminal else Console(markup=False, width=WIDTH)
    wide.print(table)
    for row in rows:
        if row.file:
            wide.print(f"{row.target} {row.recipes[0]}: {row.file}", highlight=False, soft_wrap=True)
    for line in (*bundles, *([f"report: {report}"] if report else [])):
        wide.print(line, highlight=False, soft_wrap=True)


def same_fault(rows: Sequence[ShipRow]) -> list[list[ShipRow]]:
    """Return the rows in order; rows of several targets without a file, for one reason, are together."""
    groups: dict[tuple[str, ...], list[ShipRow]] = {}
    for row in rows:
        own = (row.target, *row.recipes) if row.file else ()
        groups.setdefault((row.verdict, row.stage, row.limit, row.next, *own), []).append(row)
    return list(groups.values())
