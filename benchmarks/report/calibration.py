"""How the task loss of static integers moves with the method of calibration, the number of samples and equalization.

Each is a recipe of its own (w8a8-mse, w8a8-n4, w8a8-eq), judged by parity like any other; this is the table of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.gather import Evidence
from benchmarks.report.judged import losses
from benchmarks.report.words import metric_name, number
from hydramobile.errors import NothingJudged
from hydramobile.recipes import GRAMMAR, recipe

Row = dict[str, Any]


def calibration_rows(evidence: Evidence) -> list[Row]:
    """A row a judged artifact with calibrated ranges, where a recipe was calibrated in several ways on a target:
    target, recipe, method, samples (0: all), equalized, losses by output."""
    rows: list[Row] = []
    for verdict in evidence.verdicts:
        if not GRAMMAR.fullmatch(verdict.recipe):
            continue  # one with a name of its own, whose activations are float
        chosen = recipe(verdict.recipe)
        found = losses(evidence, verdict.target, verdict.recipe)
        if chosen.activation_bits and found:
            own = {"method": chosen.method, "samples": chosen.samples, "equalized": chosen.equalized}
            rows.append({"target": verdict.target, "recipe": chosen.plain, **own, "losses": found})
    pairs = [(row["target"], row["recipe"]) for row in rows]
    several = [row for row, pair in zip(rows, pairs, strict=True) if pairs.count(pair) > 1]
    order = ("target", "recipe", "equalized", "method", "samples")
    return sorted(several, key=lambda row: tuple(row[key] for key in order))


def calibration_cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """(heads, cells): of each output the worst sample's loss and the mean."""
    outputs = list(dict.fromkeys(output for row in rows for output in row["losses"]))
    metric = {output: next(r["losses"][output]["metric"] for r in rows if output in r["losses"]) for output in outputs}
    heads = ["target", "recipe", "ranges by", "samples", "equalized"]
    heads += [f"{output}: {metric_name(metric[output])}, worst (mean)" for output in outputs]
    cells = [
        [
            *(row["target"], row["recipe"], row["method"], str(row["samples"] or "all")),
            "yes" if row["equalized"] else "no",
            *(both(row["losses"].get(output)) for output in outputs),
        ]
        for row in rows
    ]
    return heads, cells


def both(loss: Mapping[str, Any] | None) -> str:
    if loss is None:
        return "–"
    return f"{number(loss['metric'], loss['value'])} ({number(loss['metric'], loss['mean'])})"


def calibration_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown. Raises NothingJudged when there is none."""
    if not rows:
        raise NothingJudged("no recipe was calibrated in several ways and judged; make them with: make calibration")
    heads, cells = calibration_cells(rows)
    rule = "|" + " --- |" * 3 + " ---: | --- |" + " ---: |" * (len(heads) - 5)
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in cells)])
