"""docs/results.json and the tables of docs/results.md and README.md: the figures that do not depend on the machine.

The tables depend on docs/results.json alone, and docs/results.json names the measured spec and weights. A
test can therefore detect that either is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from benchmarks.evidence.envelope import plain, typed
from benchmarks.report import words
from benchmarks.report.gather import Gathered, State
from benchmarks.report.judged import Loss, label_loss, losses
from hydramobile.errors import StageError, UsageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SHORT_BEGIN, SHORT_END = "<!-- results-short:begin -->", "<!-- results-short:end -->"
DIGITS = 7
NONE = "–"


@dataclass(frozen=True, slots=True)
class LossFigure:
    """The worst value of an output's task metric and the mean over the samples; `worst` names the worst sample."""

    metric: str
    worst: str
    runtime: str
    evidence: str
    value: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigure(LossFigure):
    """An artifact's loss against labels: the difference of `whdr` and `reference`, the shares of wrong pairs."""

    whdr: float
    reference: float
    output: str
    labels: int


class HasLosses(Protocol):
    """A row with the worst task losses by output, and the loss against labels."""

    @property
    def losses(self) -> Mapping[str, LossFigure]: ...

    @property
    def labels(self) -> LabelFigure | None: ...


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One target x recipe: its state, the bytes that an app ships, its worst task losses by output."""

    target: str
    recipe: str
    must_ship: bool
    state: State
    bytes: int | None
    gzip: int | None
    losses: Mapping[str, LossFigure]
    labels: LabelFigure | None


@dataclass(frozen=True, slots=True)
class Results:
    """The content of docs/results.json."""

    schema: Literal[1]
    model: str
    version: str
    spec_sha256: str
    weights_sha256: str
    samples: int
    artifacts: Sequence[ResultRow]


def results(evidence: Gathered) -> Results:
    """Return the content of docs/results.json: one row per target x recipe, with its worst task losses and bytes."""
    rows = []
    for verdict in evidence.verdicts:
        size = evidence.size(*verdict.pair)
        current = size if size and not evidence.stale(size) else None
        rows.append(
            ResultRow(
                target=verdict.target,
                recipe=verdict.recipe,
                must_ship=verdict.ship,
                state=verdict.state,
                bytes=current.ships.bytes if current else None,
                gzip=current.ships.gzip if current else None,
                losses={output: figure(loss) for output, loss in losses(evidence, *verdict.pair).items()},
                labels=label_figure(label_loss(evidence, *verdict.pair)),
            )
        )
    parity = evidence.documents.parity
    return Results(
        schema=1,
        model=evidence.spec.name,
        version=evidence.spec.version,
        spec_sha256=evidence.spec.sha256,
        weights_sha256=evidence.spec.weights_sha256,
        samples=len(parity.samples) if parity else 0,
        artifacts=rows,
    )


def read_results(path: Path) -> Results:
    """Read docs/results.json. Raises StageError("report") for a damaged file or another schema."""
    try:
        return typed(Results, read_json(path, "report"))
    except ValueError as error:
        raise StageError("report", f"{path} is not what `make report` writes: {error}") from error


def figure(loss: Loss) -> LossFigure:
    measure = loss.measure
    return LossFigure(
        metric=measure.metric,
        worst=measure.worst,
        runtime=loss.runtime,
        evidence=loss.evidence,
        value=round(measure.value, DIGITS),
        mean=round(measure.mean, DIGITS),
    )


def label_figure(loss: Loss | None) -> LabelFigure | None:
    if loss is None or loss.score is None:
        return None
    base = figure(loss)
    return LabelFigure(
        metric=base.metric,
        worst=base.worst,
        runtime=base.runtime,
        evidence=base.evidence,
        value=base.value,
        mean=base.mean,
        whdr=round(loss.score.whdr, DIGITS),
        reference=round(loss.score.reference, DIGITS),
        output=loss.measure.output,
        labels=loss.score.labels,
    )


def metrics_of(rows: Iterable[HasLosses]) -> dict[str, str]:
    """Return the task metric of every judged output."""
    return {output: loss.metric for row in reversed(list(rows)) for output, loss in row.losses.items()}


def label_column(rows: Sequence[HasLosses]) -> tuple[str, list[str]]:
    """Return the heading and the cells of the mean loss against labels; the heading is "" if no row has one."""
    figures = [row.labels for row in rows]
    head = next((f"{item.output}: {words.metric_name(item.metric)}" for item in figures if item), "")
    return head, [words.number(item.metric, item.mean) if item else NONE for item in figures]


def loss_cells(row: HasLosses, outputs: Iterable[str]) -> list[str]:
    figures = [row.losses.get(output) for output in outputs]
    return [words.number(item.metric, item.value) if item else NONE for item in figures]


def block(document: Results) -> str:
    """Return the table with its markers; it depends on docs/results.json alone."""
    rows = document.artifacts
    outputs = list(dict.fromkeys(output for row in rows for output in row.losses))
    metric = metrics_of(rows)
    heads = ["target", "recipe", "stands", "an app ships", "gzip"]
    heads += [f"{output}: worst {words.metric_name(metric[output])}" for output in outputs]
    head, against = label_column(rows)
    heads += [*filter(None, [head]), "evidence"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * 3 + " ---: |" * (len(heads) - 4) + " --- |"]
    for row, lost in zip(rows, against, strict=True):
        cells = [row.target, row.recipe, f"{words.STATES[row.state][0]} {row.state}"]
        cells += [words.megabytes(row.bytes) or NONE, words.megabytes(row.gzip) or NONE]
        cells += loss_cells(row, outputs)
        cells += [lost] if head else []
        labels = dict.fromkeys(row.losses[output].evidence for output in outputs if output in row.losses)
        cells.append(", ".join(["static", *labels] if row.bytes else labels) or NONE)
        lines.append(f"| {' | '.join(cells)} |")
    facts = (
        f"{document.model} {document.version}, weights `{document.weights_sha256[:12]}`, worst of "
        f"{document.samples} judging samples and of every runtime that ran the file, against the reference's own "
        f"outputs; {counted(rows)}docs/results.json `{key(document)[:12]}`. Evidence labels: "
        + "; ".join(f"*{name}*: {words.EVIDENCE[name]}" for name in labels_of(rows))
        + "."
    )
    return "\n".join([BEGIN, *lines, "", facts, END])


def short_block(document: Results) -> str:
    """Return a table with its markers: per target the smallest file of those that must ship and do."""
    shipped = [row for row in document.artifacts if row.must_ship and row.state == "ships" and row.bytes]
    smallest = {row.target: row for row in sorted(shipped, key=lambda row: -(row.bytes or 0))}
    rows = [smallest[target] for target in dict.fromkeys(row.target for row in shipped)]
    metric = metrics_of(rows)
    heads = [
        "target",
        "file that ships",
        "an app ships",
        *(f"{name}: worst {words.metric_name(metric[name])}" for name in metric),
    ]
    lines = [f"| {' | '.join([*heads, 'evidence'])} |", "| --- | --- |" + " ---: |" * (len(heads) - 2) + " --- |"]
    for row in rows:
        labels = dict.fromkeys(item.evidence for item in row.losses.values())
        cells = [
            row.target,
            row.recipe,
            words.megabytes(row.bytes) or NONE,
            *loss_cells(row, metric),
            ", ".join(labels),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([SHORT_BEGIN, *lines, SHORT_END])


TABLES: Mapping[tuple[str, str], Callable[[Results], str]] = {
    (BEGIN, END): block,
    (SHORT_BEGIN, SHORT_END): short_block,
}


def counted(rows: Iterable[ResultRow]) -> str:
    found = next((row.labels for row in rows if row.labels), None)
    if not found:
        return ""
    name, own = words.metric_name(found.metric), words.number(found.metric, found.reference)
    return f"{name}: mean over {found.labels} labelled views, of which float32 has {own} of the pairs wrong; "


def labels_of(rows: Iterable[ResultRow]) -> list[str]:
    labels = {item.evidence for row in rows for item in row.losses.values()}
    return [name for name in words.EVIDENCE if name in labels or name == "static"]


def key(document: Results) -> str:
    return sha256_bytes(canonical_json(plain(document)).encode())


def renew_readme(evidence: Gathered, readme: Path) -> Path:
    """Rewrite the tables in `readme` and docs/results.json, and return the path of the latter.

    Raises UsageError if the file or all markers are missing, StageError("report") if no artifact was judged, because
    an empty table must not replace a full one.
    """
    if not readme.is_file():
        raise UsageError(f"no file {readme}")
    text = readme.read_text(encoding="utf-8")
    whole = [(begin, end) for begin, end in TABLES if re.findall(f"{begin}|{end}", text) == [begin, end]]
    if not whole:
        raise UsageError(f"{readme} needs one {BEGIN} and one {END}, or one {SHORT_BEGIN} and one {SHORT_END}")
    document = results(evidence)
    if not any(row.losses for row in document.artifacts):
        raise StageError("report", f"no artifact was judged; {readme} keeps its table. Run: make parity")
    folder = readme.parent if readme.parent.name == "docs" else readme.parent / "docs"
    path = folder / "results.json"
    write_text(path, dump_json(plain(document)))
    for begin, end in whole:
        text = text.split(begin)[0] + TABLES[begin, end](document) + text.split(end)[1]
    write_text(readme, text)
    return path
