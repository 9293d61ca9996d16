"""The table of `device` on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Column, Table

from benchmarks.show.tables import wide


def device_table(document: Mapping[str, Any]) -> None:
    """What was judged, then a row an entry and configuration. Times of an emulator are not shown: they are none."""
    console = wide()
    for row in document["parity"]:
        if row["verdict"] != "pass":
            where = " ".join(filter(None, (row["target"], row["recipe"], row["entry"], row["mode"], row["stage"])))
            console.print(f"{where}: [red]{row['verdict']}[/], {row['reason']}", highlight=False)
    passed = [row for row in document["parity"] if row["verdict"] == "pass"]
    labels = ", ".join(sorted({row["evidence"] for row in document["parity"]}))
    console.print(f"parity: {len(passed)} of {len(document['parity'])} comparisons hold (evidence: {labels})")
    names = (Column("artifact", no_wrap=True), Column("configuration", no_wrap=True), Column("entry", no_wrap=True))
    table = Table(
        *names, *(Column(name, justify="right") for name in ("mean ms", "p50", "first", "init")), "or why not"
    )
    for row in document["results"]:
        artifact = f"{row['target']}/{row['recipe']}"
        if row["verdict"] != "measured":
            console.print(f"{artifact}: [yellow]{row['verdict']}[/], {row['reason']}", highlight=False)
            continue
        for found in row["configurations"]:
            for entry in found["entries"]:
                times = [milliseconds(entry, key) for key in ("mean_ms", "p50_ms", "first_ms", "init_ms")]
                table.add_row(artifact, found["configuration"], entry["entry"], *times, entry.get("reason", ""))
    console.print(table)


def milliseconds(entry: Mapping[str, Any], key: str) -> str:
    return f"{entry[key]:.2f}" if key in entry else ""
