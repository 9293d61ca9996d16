"""The table of calibration: task loss of static integers by calibration method, number of samples and equalization.

Each variant is a separate recipe (w8a8-mse, w8a8-n4, w8a8-eq), which parity judges like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report.gather import Gathered
from benchmarks.report.judged import Loss, losses
from benchmarks.report.words import metric_name, number
from hydramobile.errors import NothingJudged
from hydramobile.recipes import GRAMMAR, recipe


@dataclass(frozen=True, slots=True)
class CalibrationLine:
    """One judged artifact with calibrated ranges. `samples` is 0 for all samples; `losses` are by output."""

    target: str
    recipe: str
    method: str
    samples: int
    equalized: bool
    losses: Mapping[str, Loss]


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and cells as text; the columns after the first five are numbers."""

    heads: Sequence[str]
    cells: Sequence[Sequence[str]]


def calibration_lines(evidence: Gathered) -> list[CalibrationLine]:
    """Return one line per judged artifact of each recipe that was calibrated in several ways on one target."""
    lines: list[CalibrationLine] = []
    for verdict in evidence.verdicts:
        if not GRAMMAR.fullmatch(verdict.recipe):
            continue  # a named recipe, whose activations are float
        chosen = recipe(verdict.recipe)
        found = losses(evidence, *verdict.pair)
        if chosen.activation_bits and found:
            how = chosen.method, chosen.samples, chosen.equalized
            lines.append(CalibrationLine(verdict.target, chosen.plain, *how, losses=found))
    pairs = [(line.target, line.recipe) for line in lines]
    several = [line for line, pair in zip(lines, pairs, strict=True) if pairs.count(pair) > 1]
    return sorted(several, key=lambda line: (line.target, line.recipe, line.equalized, line.method, line.samples))


def calibration_cells(lines: Sequence[CalibrationLine]) -> Table:
    """Format the lines as text, with the loss of the worst sample and the mean loss of each output."""
    outputs = list(dict.fromkeys(output for line in lines for output in line.losses))
    metric = {output: metric_of(lines, output) for output in outputs}
    heads = ["target", "recipe", "ranges by", "samples", "equalized"]
    heads += [f"{output}: {metric_name(metric[output])}, worst (mean)" for output in outputs]
    cells = [
        [
            *(line.target, line.recipe, line.method, str(line.samples or "all")),
            "yes" if line.equalized else "no",
            *(both(line.losses.get(output)) for output in outputs),
        ]
        for line in lines
    ]
    return Table(heads, cells)


def metric_of(lines: Sequence[CalibrationLine], output: str) -> str:
    return next(line.losses[output].measure.metric for line in lines if output in line.losses)


def both(loss: Loss | None) -> str:
    if loss is None:
        return "–"
    measure = loss.measure
    return f"{number(measure.metric, measure.value)} ({number(measure.metric, measure.mean)})"


def calibration_table(lines: Sequence[CalibrationLine]) -> str:
    """Format the lines as Markdown. Raises NothingJudged if there are none."""
    if not lines:
        raise NothingJudged("no recipe was calibrated in several ways and judged; make them with: make calibration")
    table = calibration_cells(lines)
    rule = "|" + " --- |" * 3 + " ---: | --- |" + " ---: |" * (len(table.heads) - 5)
    return "\n".join([f"| {' | '.join(table.heads)} |", rule, *(f"| {' | '.join(line)} |" for line in table.cells)])
