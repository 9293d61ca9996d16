"""The table of `cost` on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Column, Table

from benchmarks.show.tables import megabytes, wide


def millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def cost_table(document: Mapping[str, Any]) -> None:
    """Modules of the reference, then a row an entry of each artifact with the operator at the memory peak."""
    console = wide()
    modules = Table("module", *(Column(name, justify="right") for name in ("parameters", "multiply-accumulates")))
    for row in document["modules"]:
        modules.add_row(row["module"], millions(row["parameters"]), millions(row["macs"]))
    console.print(modules)
    if document["modules_missing"]:
        console.print(f"modules were not counted: {document['modules_missing']}")
    figures = (Column(name, justify="right", no_wrap=True) for name in ("operators", "MACs", "weights", "peak"))
    table = Table(Column("artifact", no_wrap=True), Column("entry", no_wrap=True), *figures, "peak at")
    others = []
    for row in document["results"]:
        name = f"{row['target']}/{row['recipe']}"
        if row["verdict"] != "measured":
            others.append(f"{name}: [yellow]{row['verdict']}[/], {row['stage']} {row['reason']}")
        for entry in row["entries"]:
            peak, weights = entry["peak"], sum(entry["weights"].values())
            figures_of = (
                str(entry["operators"]),
                millions(entry["macs"]),
                megabytes(weights),
                megabytes(peak["bytes"]),
            )
            table.add_row(name, entry["entry"], *figures_of, f"{peak['kind']} {peak['step']}")
    console.print(table)
    console.print("Peak: activations alive at once in file order, inputs and outputs included (evidence: static).")
    for line in others:
        console.print(line, highlight=False)
