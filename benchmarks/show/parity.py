"""The tables of `parity` on a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.parity.lean import summary as left_lines
from benchmarks.parity.rows import left_out
from benchmarks.parity.standings import standings
from benchmarks.parity.verdict import used
from benchmarks.show.terminal import wide
from hydramobile.budget import load_budget
from hydramobile.spec import ModelSpec

STYLE = {"pass": "green", "mismatch": "red", "failed": "red", "unavailable": "yellow"}
STATE = {"ships": "green", "passes": "green", "refused": "yellow", "broken": "red", "failed": "red", "unjudged": "red"}


def parity_table(spec: ModelSpec, evidence: ParityEvidence) -> None:
    """Print one row per artifact and runtime with its tightest measure, and every row that did not pass.

    Skipped comparisons and the state of each artifact follow.
    """
    table = Table("artifact", "runtime", "evidence", "passed", "closest to its limit, or what is wrong")
    grouped: dict[tuple[str, str, str], list[ParityRow]] = {}
    for row in evidence.results:
        if not left_out(row):
            grouped.setdefault((row.name, row.runtime, row.evidence), []).append(row)
    for key, rows in grouped.items():
        bad = [row for row in rows if row.verdict != "pass"]
        table.add_row(*key, f"{len(rows) - len(bad)} of {len(rows)}", "" if bad else closest(rows))
        for row in bad:
            where = " ".join(filter(None, (row.entry, row.mode, row.stage)))
            verdict = Text(row.verdict, STYLE[row.verdict])
            table.add_row("", "", "", verdict, ": ".join(filter(None, (where, row.reason))))
        for row in rows:
            if row.mode == "bisect" and row.verdict == "pass":
                table.add_row("", "", "", "bisect", row.reason)
    console = wide()
    console.print(table)
    for line in left_lines(evidence.results):
        console.print(f"left out: {line}", highlight=False)
    summary = Table("artifact", "must ship", "stands", "reason")
    for standing in standings(load_budget(spec), evidence.results):
        state = Text(standing.state, STATE[standing.state])
        name = f"{standing.target}/{standing.recipe}"
        summary.add_row(name, "yes" if standing.ship else "no", state, standing.reason)
    console.print(summary)


def closest(rows: list[ParityRow]) -> str:
    """Describe the measure that uses the greatest share of its limit; "" if no measure has a limit."""
    measures = [(row.entry, measure) for row in rows for measure in row.measures if measure.limit is not None]
    if not measures:
        return ""
    entry, tight = max(measures, key=lambda pair: used(pair[1]))
    where = f"{entry}: " if entry else ""
    return f"{where}{tight.output} {tight.metric} {tight.value:.3g} (limit {tight.limit:g}, {tight.worst})"
