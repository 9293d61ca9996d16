"""What the benchmark commands print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from benchmarks.grid.run import summarize
from benchmarks.instructions.run import Change, key_of
from benchmarks.parity.lean import left_out
from benchmarks.parity.lean import summary as left_lines
from benchmarks.parity.run import standings
from benchmarks.parity.verdict import tightest
from benchmarks.runtime import REGISTRY, load_runtime
from hydramobile.budget import load_budget
from hydramobile.spec import ModelSpec

STYLE = {"pass": "green", "mismatch": "red", "failed": "red", "unavailable": "yellow"}
TIMES = ("load", "first", "p50", "p99", "share")
STATE = {"ships": "green", "passes": "green", "refused": "yellow", "broken": "red", "failed": "red", "unjudged": "red"}


def say(quiet: bool) -> Callable[[str], None]:
    """Progress, one line a step, on stderr."""
    console = Console(stderr=True)
    return (lambda text: None) if quiet else lambda text: console.print(text, highlight=False)


def parity_table(spec: ModelSpec, document: Mapping[str, Any]) -> None:
    """A row an artifact and runtime with its tightest measure, every row that did not pass, then where each stands."""
    table = Table("artifact", "runtime", "evidence", "passed", "closest to its limit, or what is wrong")
    grouped: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in document["results"]:
        grouped.setdefault((f"{row['target']}/{row['recipe']}", row["runtime"], row["evidence"]), []).append(row)
    for (artifact, runtime, evidence), rows in grouped.items():
        rows = [row for row in rows if not left_out(row)]
        if not rows:
            continue
        bad = [row for row in rows if row["verdict"] != "pass"]
        measures = [{**measure, "entry": row["entry"]} for row in rows for measure in row["measures"]]
        count = f"{len(rows) - len(bad)} of {len(rows)}"
        table.add_row(artifact, runtime, evidence, count, "" if bad else closest(measures))
        for row in bad:
            where = " ".join(filter(None, (row["entry"], row["mode"], row["stage"])))
            table.add_row(
                "",
                "",
                "",
                f"[{STYLE[row['verdict']]}]{row['verdict']}[/]",
                ": ".join(filter(None, (where, row["reason"]))),
            )
        for row in rows:
            if row["mode"] == "bisect":
                table.add_row("", "", "", "bisect", row["reason"])
    console = wide()
    console.print(table)
    for line in left_lines(document["results"]):
        console.print(f"left out: {line}", highlight=False)
    summary = Table("artifact", "must ship", "stands", "reason")
    for standing in standings(load_budget(spec), document["results"]):
        state = f"[{STATE[standing.state]}]{standing.state}[/]"
        name = f"{standing.target}/{standing.recipe}"
        summary.add_row(name, "yes" if standing.ship else "no", state, standing.reason)
    console.print(summary)


def wide() -> Console:
    """The terminal, or 120 columns where the output goes to a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def closest(measures: Sequence[Mapping[str, Any]]) -> str:
    """The measure that used up the most of its limit."""
    tight = tightest(measures)
    if tight is None:
        return ""
    where = f"{tight['entry']}: " if tight.get("entry") else ""
    return (
        f"{where}{tight['output']} {tight['metric']} {tight['value']:.3g} (limit {tight['limit']:g}, {tight['worst']})"
    )


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
    wide().print(table)


def megabytes(count: int) -> str:
    """Bytes as MB of 10^6 bytes, as app stores count them."""
    return f"{count / 1e6:.2f} MB"


def latency_table(document: Mapping[str, Any]) -> None:
    """One row an entry, milliseconds; `share` is the time over the primary entry's, from alternated rounds."""
    names = (Column("artifact", no_wrap=True), "runtime", Column("entry", no_wrap=True))
    table = Table(*names, *(Column(name, justify="right", no_wrap=True) for name in TIMES))
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
            times += [f"{entry[key]:.1f}" for key in ("p50_ms", "p99_ms")]
            share = f"{shares[entry['entry']]:.0%}" if entry["entry"] in shares else ""
            where = f"{row['runtime']} on {row['device']['name']}" if row.get("device") else row["runtime"]
            table.add_row(artifact, where, entry["entry"], *times, share)
    console = wide()
    console.print(table)
    labels = ", ".join(sorted({row["evidence"] for row in document["results"] if row["verdict"] == "measured"}))
    console.print(f"Milliseconds (evidence: {labels or 'none'}); share: of the primary entry, in alternated rounds.")
    for note in (*others, *document["notes"]):
        console.print(note, highlight=False)


def grid_table(document: Mapping[str, Any]) -> None:
    """One row an entry: the median of its processes' medians, their quartiles, the ratio to the float32 file."""
    names = (Column("artifact", no_wrap=True), "runtime", Column("entry", no_wrap=True))
    figures = ("processes", "ms", "quartiles", "of float32")
    table = Table(*names, *(Column(name, justify="right", no_wrap=True) for name in figures))
    for row in summarize(document):
        artifact = "/".join(filter(None, (row["target"], row["recipe"])))
        share = "" if row["to_float32"] is None else f"{row['to_float32']:.2f}"
        times = (f"{row['p50_ms']:.2f}", f"{row['low_ms']:.2f} to {row['high_ms']:.2f}")
        table.add_row(artifact, row["runtime"], row["entry"], str(row["processes"]), *times, share)
    console = wide()
    console.print(table)
    flags = " ".join(document["machine"]["flags"])
    console.print(f"Milliseconds on this machine (evidence: host), {document['threads']} thread(s); CPU flags: {flags}")
    for row in document["results"]:
        if row["verdict"] != "measured":
            artifact = f"{row['target']}/{row['recipe']} in {row['runtime'] or 'no runtime'}"
            console.print(f"{artifact}: [yellow]{row['verdict']}[/], {row['reason']}", highlight=False)


COMPARED = {"faster": "green", "slower": "red", "alike": "dim", "few": "yellow", "alone": "yellow"}


def compare_table(found: Mapping[str, Any]) -> None:
    names = (Column("artifact", no_wrap=True), "runtime", Column("entry", no_wrap=True))
    figures = (Column(name, justify="right", no_wrap=True) for name in ("old ms", "new ms", "new / old"))
    table = Table(*names, *figures, "verdict")
    for row in found["rows"]:
        artifact = "/".join(filter(None, (row["target"], row["recipe"])))
        times = ["" if row[key] is None else f"{row[key]:.2f}" for key in ("old_ms", "new_ms", "ratio")]
        same = ", the same file" if row["same_file"] else ""
        verdict = f"[{COMPARED[row['verdict']]}]{row['verdict']}[/]: {row['reason']}{same}"
        table.add_row(artifact, row["runtime"], row["entry"], *times, verdict)
    console = wide()
    console.print(table)
    for note in found["notes"]:
        console.print(note, highlight=False)


def profile_table(document: Mapping[str, Any], most: int = 6) -> None:
    """The kernels that cost most of each artifact's primary entry, as shares of a profiled run."""
    table = Table(
        "artifact", "runtime", "entry", "kernel", *(Column(name, justify="right") for name in ("of it", "ms", "ops"))
    )
    console = wide()
    for row in document["results"]:
        artifact = f"{row['target']}/{row['recipe']}"
        if row["verdict"] != "measured":
            console.print(
                f"{artifact} in {row['runtime']}: [yellow]{row['verdict']}[/], {row['reason']}", highlight=False
            )
            continue
        main = max(row["entries"], key=lambda entry: len(entry["modules"]))
        for index, kind in enumerate(main["kinds"][:most]):
            names = ("", "", "") if index else (artifact, row["runtime"], main["entry"])
            table.add_row(*names, kind["kind"], f"{kind['share']:.0%}", f"{kind['ms']:.2f}", str(kind["calls"]))
    console.print(table)


CLASSES = {"fmla_f32": "fmla", "fmla_f16": "fmla fp16", "dot": "dot", "i8mm": "i8mm", "memory": "memory"}


def instructions_table(document: Mapping[str, Any], changes: Sequence[Change]) -> None:
    """One row an entry: millions of instructions, classes as shares of them, and the change against the baseline."""
    heads = (Column(name, justify="right") for name in ("M instr.", "of fused", *CLASSES.values(), "change"))
    table = Table(*(Column(name, no_wrap=True) for name in ("artifact", "runtime", "entry")), *heads)
    known = {(change.key, change.entry): change for change in changes}
    console = wide()
    for row in document["results"]:
        artifact = f"{row['target']}/{row['recipe']}"
        if row["verdict"] != "counted":
            text = f"{artifact} in {row['runtime']}: [yellow]{row['verdict']}[/], {row['reason']}"
            console.print(text, highlight=False)
        for entry in row["entries"]:
            counts, change = entry["counts"], known[key_of(row), entry["entry"]].change
            shares = [f"{counts[name] / counts['total']:.0%}" if counts[name] else "" for name in CLASSES]
            moved = "new" if change is None else f"{change:+.3f} %"
            figures = (f"{counts['total'] / 1e6:.2f}", f"{entry['share']:.1%}", *shares, moved)
            table.add_row(artifact, row["runtime"], entry["entry"], *figures)
    console.print(table)
    console.print("ARM instructions per inference (evidence: instruction-proxy): work, not time.")


def doctor_rows() -> list[dict[str, str]]:
    rows = []
    for name in REGISTRY:
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
    wide().print(table)
