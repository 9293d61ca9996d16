"""The tables of `latency`, `grid`, `compare` and `profile` on a terminal."""

from __future__ import annotations

from rich.table import Column, Table
from rich.text import Text

from benchmarks.evidence.grid import GridEvidence
from benchmarks.evidence.latency import LatencyEvidence
from benchmarks.evidence.profile import ProfileEvidence
from benchmarks.grid.compare import Comparison
from benchmarks.grid.run import summarize
from benchmarks.show.terminal import entry_table, short_name, wide

COMPARED = {
    "faster": "green",
    "slower": "red",
    "alike": "dim",
    "few": "yellow",
    "alone": "yellow",
    "untimed": "yellow",
}


def latency_table(evidence: LatencyEvidence) -> None:
    """Print one row per entry in milliseconds; `share` is the ratio to the primary entry, from interleaved rounds."""
    table = entry_table(("load", "first", "p50", "p99", "share"))
    others = []
    for row in evidence.results:
        artifact = short_name(row.target, row.recipe)
        if row.verdict != "measured":
            reason = f"{row.stage} {row.reason}".strip()
            others.append(
                Text.assemble(f"{artifact} in {row.runtime or 'no runtime'}: ", (row.verdict, "yellow"), f", {reason}")
            )
            continue
        shares = {ratio.entry: ratio.value for ratio in row.ratios if ratio.kind != "reference"}
        where = f"{row.runtime} on {row.device.name}" if row.device else row.runtime
        for entry in row.entries:
            times = [f"{entry.load_s * 1e3:.0f}", f"{entry.first_s * 1e3:.0f}"]
            times += [f"{entry.p50_ms:.1f}", f"{entry.p99_ms:.1f}"]
            share = f"{shares[entry.entry]:.0%}" if entry.entry in shares else ""
            table.add_row(artifact, where, entry.entry, *times, share)
    console = wide()
    console.print(table)
    labels = ", ".join(sorted({row.evidence for row in evidence.results if row.verdict == "measured"}))
    console.print(f"Milliseconds (evidence: {labels or 'none'}); share: of the primary entry, in interleaved rounds.")
    for note in (*others, *evidence.notes):
        console.print(note, highlight=False)


def grid_table(evidence: GridEvidence) -> None:
    """Print one row per entry: median and quartiles of its processes' medians, and the ratio to the float32 file."""
    table = entry_table(("processes", "ms", "quartiles", "of float32"))
    for row in summarize(evidence.results):
        share = "" if row.to_float32 is None else f"{row.to_float32:.2f}"
        times = (f"{row.p50_ms:.2f}", f"{row.low_ms:.2f} to {row.high_ms:.2f}")
        table.add_row(short_name(row.target, row.recipe), row.runtime, row.entry, str(row.processes), *times, share)
    console = wide()
    console.print(table)
    flags = " ".join(evidence.machine.flags) if evidence.machine else ""
    console.print(f"Milliseconds on this machine (evidence: host), {evidence.threads} thread(s); CPU flags: {flags}")
    for line in evidence.results:
        if line.verdict != "measured":
            name = f"{line.target}/{line.recipe} in {line.runtime or 'no runtime'}"
            reason = ": ".join(filter(None, (line.stage, line.reason)))
            console.print(Text.assemble(f"{name}: ", (line.verdict, "yellow"), f", {reason}"), highlight=False)


def compare_table(comparison: Comparison) -> None:
    """Print one row per entry of two grids."""
    table = entry_table(("old ms", "new ms", "new / old"), "verdict")
    for row in comparison.rows:
        times = ["" if value is None else f"{value:.2f}" for value in (row.old_ms, row.new_ms, row.ratio)]
        same = ", the same file" if row.same_file else ""
        verdict = Text.assemble((row.verdict, COMPARED[row.verdict]), f": {row.reason}{same}")
        table.add_row(short_name(row.target, row.recipe), row.runtime, row.entry, *times, verdict)
    console = wide()
    console.print(table)
    for note in comparison.notes:
        console.print(note, highlight=False)


def profile_table(evidence: ProfileEvidence, most: int = 6) -> None:
    """Print the `most` slowest kernels of each artifact's primary entry, as shares of a profiled run."""
    figures = (Column(name, justify="right") for name in ("of it", "ms", "ops"))
    table = Table("artifact", "runtime", "entry", "kernel", *figures)
    console = wide()
    for row in evidence.results:
        if row.verdict != "measured":
            reason = ": ".join(filter(None, (row.stage, row.reason)))
            console.print(
                Text.assemble(f"{row.name} in {row.runtime}: ", (row.verdict, "yellow"), f", {reason}"), highlight=False
            )
            continue
        main = max(row.entries, key=lambda entry: len(entry.modules))
        for index, kind in enumerate(main.kinds[:most]):
            names = ("", "", "") if index else (row.name, row.runtime, main.entry)
            table.add_row(*names, kind.kind, f"{kind.share:.0%}", f"{kind.ms:.2f}", str(kind.calls))
    console.print(table)
