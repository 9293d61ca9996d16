"""The table of `cost` on a terminal."""

from __future__ import annotations

from rich.table import Column, Table
from rich.text import Text

from benchmarks.evidence.cost import CostEvidence
from benchmarks.show.terminal import megabytes, wide


def millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def cost_table(evidence: CostEvidence) -> None:
    """Print the modules of the reference, then one row per entry with the operator at the memory peak."""
    console = wide()
    modules = Table("module", *(Column(name, justify="right") for name in ("parameters", "multiply-accumulates")))
    for module in evidence.modules:
        modules.add_row(module.module, millions(module.parameters), millions(module.macs))
    console.print(modules)
    if evidence.modules_missing:
        console.print(f"modules were not counted: {evidence.modules_missing}")
    figures = (Column(name, justify="right", no_wrap=True) for name in ("operators", "MACs", "weights", "peak"))
    table = Table(Column("artifact", no_wrap=True), Column("entry", no_wrap=True), *figures, "peak at")
    others = []
    for row in evidence.results:
        if row.verdict != "measured":
            others.append(Text.assemble(f"{row.name}: ", (row.verdict, "yellow"), f", {row.stage} {row.reason}"))
        for entry in row.entries:
            weights = megabytes(sum(entry.weights.values()))
            counts = (str(entry.operators), millions(entry.macs), weights, megabytes(entry.peak.bytes))
            table.add_row(row.name, entry.entry, *counts, f"{entry.peak.kind} {entry.peak.step}")
    console.print(table)
    console.print("Peak: activations alive at once in file order, inputs and outputs included (evidence: static).")
    for line in others:
        console.print(line, highlight=False)
