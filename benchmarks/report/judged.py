"""The tables of parity: verdicts, the parity matrix, task losses, refusals, and measurements that were not done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.evidence.parity import LabelScore, Mode, ParityRow
from benchmarks.evidence.size import SizeRow
from benchmarks.parity.rows import left_out
from benchmarks.parity.verdict import tightest, used
from benchmarks.report import words
from benchmarks.report.gather import Gathered, State, Verdict
from benchmarks.runtime import REGISTRY, forced
from hydramobile.measures import MEAN, Measure, worse

# The modes that compare outputs, or that failed before the comparison.
SHOWN: tuple[Mode, ...] = ("direct", "boundary", "chain", "drawn", "open", "run")


@dataclass(frozen=True, slots=True)
class Place:
    """The origin of a number: entry, mode, runtime, evidence label."""

    entry: str
    mode: Mode
    runtime: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A measure, formatted for a table. `used` is the share of its limit, None without one; `worst` names a sample."""

    place: Place
    output: str
    metric: str
    value: str
    mean: str
    limit: str
    used: float | None
    worst: str


@dataclass(frozen=True, slots=True)
class BrokenLimit:
    """The worst number of an output and metric over its limit, and the number of comparisons that broke the limit."""

    number: Number
    count: int


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """The verdict of one target x recipe, the number that decided it, and the runtimes that judged it."""

    verdict: Verdict
    deciding: Number | None
    runtimes: Sequence[str]
    size: SizeRow | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry x mode of an artifact in a runtime: the number closest to its limit."""

    verdict: str
    reason: str
    number: Number | None


@dataclass(frozen=True, slots=True)
class Column:
    entry: str
    mode: Mode
    means: str


@dataclass(slots=True)
class MatrixLine:
    """A row of the parity matrix: one artifact x runtime x variant."""

    target: str
    recipe: str
    runtime: str
    variant: str
    evidence: str
    stale: bool
    cells: list[Cell | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Matrix:
    heads: Sequence[Column]
    rows: Sequence[MatrixLine]


@dataclass(frozen=True, slots=True)
class LossLine:
    """The task metrics of one judged output of an artifact in a runtime."""

    target: str
    recipe: str
    runtime: str
    evidence: str
    state: State
    output: str
    numbers: Sequence[Number]


@dataclass(frozen=True, slots=True)
class Loss:
    """The worst value of an output's first task metric, and where it was measured. `score`: against labels."""

    measure: Measure
    runtime: str
    evidence: str
    entry: str
    score: LabelScore | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A verdict with every broken limit, and the row of the bisection against the float32 file, if there is one."""

    verdict: Verdict
    broken: Sequence[BrokenLimit]
    size: SizeRow | None
    bisect: ParityRow | None


@dataclass(frozen=True, slots=True)
class Undone:
    """A measurement or export that was not done, its reason, and the affected artifacts."""

    what: str
    state: str
    reason: str
    artifacts: Sequence[str]


def place_of(row: ParityRow) -> Place:
    return Place(row.entry, row.mode, row.runtime, row.evidence)


def number(measure: Measure, place: Place) -> Number:
    return Number(
        place=place,
        output=measure.output,
        metric=words.metric_name(measure.metric),
        value=words.number(measure.metric, measure.value),
        mean=words.number(measure.metric, measure.mean),
        limit="" if measure.limit is None else words.limit(measure.metric, measure.limit),
        used=None if measure.limit is None else used(measure),
        worst="–" if measure.value == words.perfect(measure.metric) else measure.worst,
    )


def verdict_lines(evidence: Gathered) -> list[VerdictLine]:
    """Return one line per target x recipe, with the number that decided its verdict."""
    return [
        VerdictLine(
            verdict,
            deciding(evidence, verdict),
            sorted({row.runtime for row in evidence.judged(*verdict.pair)}),
            evidence.size(*verdict.pair),
        )
        for verdict in evidence.verdicts
    ]


def deciding(evidence: Gathered, verdict: Verdict) -> Number | None:
    """Return the number that uses the greatest share of its limit, over all entries and non-forced runtimes."""
    rows = as_shipped(evidence.judged(*verdict.pair))
    limited = [(row, measure) for row in rows if (measure := tightest(row.measures))]
    if not limited:
        return None
    row, measure = max(limited, key=lambda pair: used(pair[1]))
    return number(measure, place_of(row))


def as_shipped(rows: Iterable[ParityRow]) -> list[ParityRow]:
    """Return the rows of runtimes whose arithmetic an app does not have to request."""
    return [row for row in rows if not forced(row.runtime)]


def matrix(evidence: Gathered) -> Matrix:
    """Return the parity matrix: artifact x runtime x variant by entry x mode.

    A cell holds the measure that uses the greatest share of its limit.
    """
    # Skipped comparisons are listed under "Not done".
    shown = [row for row in evidence.parity if row.entry and row.mode in SHOWN and not left_out(row)]
    names = list(evidence.spec.entries)
    columns = sorted(
        {(row.entry.partition("@")[0], row.mode) for row in shown if row.measures},
        key=lambda pair: (names.index(pair[0]) if pair[0] in names else len(names), pair[1] == "chain"),
    )
    lines: dict[tuple[str, str, str, str], MatrixLine] = {}
    for row in shown:
        entry, _, variant = row.entry.partition("@")
        key = (row.target, row.recipe, row.runtime, variant)
        if key not in lines:
            empty: list[Cell | None] = [None] * len(columns)
            lines[key] = MatrixLine(*key, evidence=row.evidence, stale=evidence.stale(row), cells=empty)
        for index, column in enumerate(columns):
            # A row that failed before a comparison has no mode, and fills every column of its entry.
            if column[0] == entry and (row.mode == column[1] or not row.measures):
                lines[key].cells[index] = cell(row)
    runtimes = {name: index for index, name in enumerate(REGISTRY)}
    pairs = {verdict.pair: index for index, verdict in enumerate(evidence.verdicts)}
    heads = [Column(entry, mode, words.MODES[mode]) for entry, mode in columns]
    body = sorted(
        lines.values(),
        key=lambda line: (pairs[line.target, line.recipe], runtimes.get(line.runtime, len(runtimes)), line.variant),
    )
    return Matrix(heads, body)


def cell(row: ParityRow) -> Cell:
    measure = tightest(row.measures)
    return Cell(row.verdict, row.reason, number(measure, place_of(row)) if measure else None)


def loss_lines(evidence: Gathered) -> list[LossLine]:
    """Return one line per target x recipe x runtime x judged output, with the worst and mean of each task metric."""
    lines = []
    for verdict in evidence.verdicts:
        for row in whole(evidence, evidence.judged(*verdict.pair)):
            for tensor in evidence.spec.judged():
                named = {m.metric: number(m, place_of(row)) for m in row.measures if m.output == tensor.name}
                numbers = [named[metric] for metric in words.TASK[tensor.judge or ""] if metric in named]
                if numbers:
                    lines.append(loss_line(row, verdict.state, tensor.name, numbers))
        for row in against_labels(evidence, *verdict.pair):
            measures = [m for m in row.measures if not m.metric.startswith(MEAN)]
            about = f"{measures[0].output}, {words.MODES['labels']}"
            lines.append(loss_line(row, verdict.state, about, [number(measure, place_of(row)) for measure in measures]))
    return lines


def loss_line(row: ParityRow, state: State, output: str, numbers: Sequence[Number]) -> LossLine:
    return LossLine(row.target, row.recipe, row.runtime, row.evidence, state, output, numbers)


def against_labels(evidence: Gathered, target: str, recipe: str) -> list[ParityRow]:
    """Return the rows that were measured on all labels of the model, one per runtime."""
    rows = [row for row in evidence.judged(target, recipe) if row.mode == "labels"]
    return [row for row in rows if row.facts.score and row.samples == row.facts.score.labels]


def label_loss(evidence: Gathered, target: str, recipe: str) -> Loss | None:
    """Return an artifact's worst loss against labels over all runtimes, with the WHDR of both nets; None if unknown."""
    worst: Loss | None = None
    for row in against_labels(evidence, target, recipe):
        for measure in row.measures:
            metric = measure.metric
            if not metric.startswith(MEAN) and (worst is None or worse(metric, measure.mean, worst.measure.mean)):
                worst = Loss(measure, row.runtime, row.evidence, row.entry, row.facts.score)
    return worst


def whole(evidence: Gathered, rows: Iterable[ParityRow]) -> list[ParityRow]:
    """Return for each runtime and judged output the row that is closest to an app's use.

    It is the row of the entry that computes the output from the model's inputs in one call, otherwise the row of the
    module chained on exported features. A row with several outputs is returned once.
    """
    outputs = [tensor.name for tensor in evidence.spec.judged()]
    chosen: dict[tuple[str, str], ParityRow] = {}
    for row in rows:
        if "@" in row.entry or row.mode in ("boundary", "drawn", "labels", "against"):
            continue
        for output in outputs:
            if any(measure.output == output for measure in row.measures):
                known = chosen.get((row.runtime, output))
                if known is None or (row.mode == "direct" and known.mode != "direct"):
                    chosen[row.runtime, output] = row
    return list({(row.runtime, row.entry, row.mode): row for row in chosen.values()}.values())


def losses(evidence: Gathered, target: str, recipe: str) -> dict[str, Loss]:
    """Return by output the worst value of its first task metric over all runtimes."""
    worst: dict[str, Loss] = {}
    for row in whole(evidence, as_shipped(evidence.judged(target, recipe))):
        for tensor in evidence.spec.judged():
            metric = words.TASK[tensor.judge or ""][0]
            for measure in row.measures:
                if (measure.output, measure.metric) == (tensor.name, metric):
                    known = worst.get(tensor.name)
                    if known is None or worse(metric, measure.value, known.measure.value):
                        worst[tensor.name] = Loss(measure, row.runtime, row.evidence, row.entry)
    return worst


def refusals(evidence: Gathered) -> list[Refusal]:
    """Return artifacts that are refused or broken, and artifacts that break a limit only in a forced runtime."""
    rows = []
    for verdict in evidence.verdicts:
        beside = verdict.state in ("ships", "passes") and verdict.reason
        if verdict.state in ("refused", "broken") or beside:
            broken = broken_limits(evidence.judged(*verdict.pair))
            rows.append(Refusal(verdict, broken, evidence.size(*verdict.pair), bisected(evidence, verdict)))
    return rows


def bisected(evidence: Gathered, verdict: Verdict) -> ParityRow | None:
    """Return the row of the bisection against the float32 file; None if parity ran without --bisect."""
    rows = (row for row in evidence.parity if row.pair == verdict.pair and row.facts.bisect)
    return next((row for row in rows if not evidence.stale(row)), None)


def broken_limits(rows: Iterable[ParityRow]) -> list[BrokenLimit]:
    """Return the worst number of each output and metric that breaks a limit, worst first."""
    broken: dict[tuple[str, str], list[tuple[Measure, ParityRow]]] = {}
    for row in rows:
        for measure in row.measures:
            if not measure.passed:
                broken.setdefault((measure.output, measure.metric), []).append((measure, row))
    lines = []
    for pairs in broken.values():
        measure, row = max(pairs, key=lambda pair: used(pair[0]))
        lines.append(BrokenLimit(number(measure, place_of(row)), len(pairs)))
    return sorted(lines, key=lambda line: -(line.number.used or 0.0))


def unavailable(evidence: Gathered) -> list[Undone]:
    """Return the comparisons, timings, size measurements and exports that were not done, with reasons."""
    found: list[Undone] = []
    for row in evidence.parity:
        if row.verdict in ("unavailable", "failed"):
            about = " ".join(filter(None, (row.runtime, row.entry, row.mode)))
            found.append(
                undone(f"judge in {about}" if about else "judge", row.verdict, row.stage, row.reason, row.name)
            )
    for timing in evidence.latencies:
        if timing.verdict != "measured":
            state = "not timed" if timing.verdict == "untimed" else timing.verdict
            found.append(undone(f"time in {timing.runtime}", state, timing.stage, timing.reason, timing.name))
    found += [undone("weigh", row.verdict, row.stage, row.reason, row.name) for row in evidence.sizes if row.reason]
    for name, outcome in evidence.exports.items():
        if outcome.state in ("failed", "unavailable", "not supported"):
            found.append(undone("export", outcome.state, outcome.stage, outcome.reason, name))
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for item in found:
        grouped.setdefault((item.what, item.state, item.reason), []).extend(item.artifacts)
    return [Undone(*key, artifacts=list(dict.fromkeys(names))) for key, names in grouped.items()]


def undone(what: str, state: str, stage: str, reason: str, name: str) -> Undone:
    return Undone(what, state, ": ".join(filter(None, (stage, reason))), [name])


def stored_dtypes(evidence: Gathered) -> list[ParityRow]:
    """Return the rows that hold bytes of weights by storage dtype, read back from the files."""
    return [row for row in evidence.parity if row.mode == "dtypes" and not evidence.stale(row)]
