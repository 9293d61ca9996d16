"""The table of `instructions` on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Column, Table
from rich.text import Text

from benchmarks.evidence.instructions import InstructionEvidence
from benchmarks.instructions.baseline import Change, key_of
from benchmarks.show.terminal import wide

CLASSES = {"fmla_f32": "fmla", "fmla_f16": "fmla fp16", "dot": "dot", "i8mm": "i8mm", "memory": "memory"}


def instructions_table(evidence: InstructionEvidence, changes: Iterable[Change]) -> None:
    """Print one row per entry: millions of instructions, share of each class, change against the baseline."""
    heads = (Column(name, justify="right") for name in ("M instr.", "of fused", *CLASSES.values(), "change"))
    table = Table(*(Column(name, no_wrap=True) for name in ("artifact", "runtime", "entry")), *heads)
    known = {(change.key, change.entry): change for change in changes}
    console = wide()
    for row in evidence.results:
        if row.verdict != "counted":
            text = Text.assemble(f"{row.name} in {row.runtime}: ", (row.verdict, "yellow"), f", {row.reason}")
            console.print(text, highlight=False)
        for entry in row.entries:
            counts, change = entry.counts, known[key_of(row), entry.entry].change
            shares = [f"{counts[name] / counts['total']:.0%}" if counts[name] else "" for name in CLASSES]
            moved = "new" if change is None else f"{change:+.3f} %"
            figures = (f"{counts['total'] / 1e6:.2f}", f"{entry.share:.1%}", *shares, moved)
            table.add_row(row.name, row.runtime, entry.entry, *figures)
    console.print(table)
    console.print("ARM instructions per inference (evidence: instruction-proxy): work, not time.")
