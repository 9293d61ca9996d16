"""What the benchmark commands print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from benchmarks.parity import standings
from benchmarks.runtime import IMPLEMENTATIONS, load_runtime
from benchmarks.verdict import tightest
from models.budget import load_budget
from models.spec import ModelSpec

STYLE = {"pass": "green", "mismatch": "red", "failed": "red", "unavailable": "yellow"}
TIMES = ("load", "first", "p50", "p90", "p99", "share")
STATE = {"ships": "green", "passes": "green", "refused": "yellow", "broken": "red", "failed": "red", "unjudged": "red"}


def say(quiet: bool) -> Callable[[str], None]:
    """Progress, one line a step, on stderr."""
    console = Console(stderr=True)
    return (lambda text: None) if quiet else lambda text: console.print(text, highlight=False)


def parity_table(spec: ModelSpec, document: Mapping[str, Any]) -> None:
    """One row a result, tightest measure shown; then where each artifact stands."""
    table = Table("target", "recipe", "runtime", "entry", "mode", "verdict", "evidence", "closest to its limit")
    for row in document["results"]:
        verdict = f"[{STYLE[row['verdict']]}]{row['verdict']}[/]"
        shown = row["reason"] or closest(row["measures"])
        table.add_row(
            row["target"], row["recipe"], row["runtime"], row["entry"], row["mode"], verdict, row["evidence"], shown
        )
    console = Console()
    console.print(table)
    summary = Table("target", "recipe", "must ship", "stands", "reason")
    for standing in standings(load_budget(spec), document["results"]):
        state = f"[{STATE[standing.state]}]{standing.state}[/]"
        summary.add_row(standing.target, standing.recipe, "yes" if standing.ship else "no", state, standing.reason)
    console.print(summary)


def closest(measures: Sequence[Mapping[str, Any]]) -> str:
    """The measure that used up the most of its limit."""
    tight = tightest(measures)
    if tight is None:
        return ""
    return f"{tight['output']} {tight['metric']} {tight['value']:.3g} (limit {tight['limit']:g}, {tight['worst']})"


def size_table(document: Mapping[str, Any]) -> None:
    """One row an artifact: what an app ships of it, and its weights by storage type."""
    table = Table("target", "recipe", "an app ships", "gzip", "above one copy of the weights", "weights")
    for row in document["results"]:
        if row["verdict"] == "failed":
            table.add_row(row["target"], row["recipe"], "[red]failed[/]", "", "", f"{row['stage']}: {row['reason']}")
            continue
        ships, over = row["ships"], row["shared"]["over_one_copy"]
        modules = [entry for entry in row["entries"] if not entry["variant"] and len(entry["modules"]) == 1]
        weights = Counter[str]()
        for entry in modules:
            weights.update(entry["weights"])
        shown = ", ".join(f"{name} {megabytes(count)}" for name, count in weights.items())
        zipped = megabytes(ships["gzip"]) if ships["gzip"] else ""
        above = "" if over is None else f"{over:+.1%}"
        table.add_row(row["target"], row["recipe"], megabytes(ships["bytes"]), zipped, above, shown or row["reason"])
    Console().print(table)


def megabytes(count: int) -> str:
    """Bytes as MB of 10^6 bytes, as app stores count them."""
    return f"{count / 1e6:.2f} MB"


def latency_table(document: Mapping[str, Any]) -> None:
    """One row an entry, milliseconds; `share` is the time over the primary entry's, from alternated rounds."""
    table = Table("artifact", "runtime", "entry", *(Column(name, justify="right", no_wrap=True) for name in TIMES))
    others = []
    for row in document["results"]:
        artifact = "/".join(filter(None, (row["target"], row["recipe"])))
        if row["verdict"] != "measured":
            reason = f"{row['stage']} {row['reason']}".strip()
            others.append(f"{artifact} in {row['runtime'] or 'no runtime'}: [yellow]{row['verdict']}[/], {reason}")
            continue
        shares = {ratio["entry"]: ratio["value"] for ratio in row["ratios"] if ratio["kind"] != "reference"}
        for entry in row["entries"]:
            times = [f"{entry['load_s'] * 1e3:.0f}", f"{entry['first_s'] * 1e3:.0f}"]
            times += [f"{entry[key]:.1f}" for key in ("p50_ms", "p90_ms", "p99_ms")]
            share = f"{shares[entry['entry']]:.0%}" if entry["entry"] in shares else ""
            table.add_row(artifact, row["runtime"], entry["entry"], *times, share)
    console = Console()
    console.print(table)
    console.print("Milliseconds on this machine (evidence: host); share: of the primary entry, in alternated rounds.")
    for note in (*others, *document["notes"]):
        console.print(note, highlight=False)


def doctor_rows() -> list[dict[str, str]]:
    rows = []
    for name in IMPLEMENTATIONS:
        runtime = load_runtime(name)
        missing = runtime.unavailable()
        versions = "" if missing else ", ".join(f"{key} {value}" for key, value in runtime.version().items())
        runs = ", ".join(runtime.targets) or "the reference"
        rows.append(
            {
                "runtime": name,
                "runs": runs,
                "evidence": runtime.evidence,
                "version": versions,
                "unavailable": missing or "",
            }
        )
    return rows


def doctor_table(rows: Sequence[Mapping[str, str]]) -> None:
    table = Table("runtime", "runs", "evidence", "version", "here")
    for row in rows:
        here = f"[yellow]no: {row['unavailable']}[/]" if row["unavailable"] else "[green]yes[/]"
        table.add_row(row["runtime"], row["runs"], row["evidence"], row["version"], here)
    Console().print(table)
