"""support.json: the supported recipes of each target, from parity, size and times of all artifacts of a build folder.

The file is reviewed data beside the model: a recipe counts as supported only if a row of this file says so. Every
artifact is judged on all samples, its size is measured, and it is timed in rounds interleaved with the float32 file of
its target. Completed measurements are reused, so that an interrupted run continues where it stopped. Rows of other
artifacts of the same weights are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.evidence.envelope import identity_of, plain, read_earlier, typed, write
from benchmarks.evidence.grid import GridEvidence, GridRow, TimeRow, TimesEvidence
from benchmarks.evidence.parity import ParityEvidence
from benchmarks.evidence.size import EntryDelegation, SizeEvidence, SizeRow
from benchmarks.grid.run import Rounds, evidence_of, line_up, summarize, take_rounds
from benchmarks.machine import identity
from benchmarks.outcomes import Outcome
from benchmarks.parity.run import run_parity
from benchmarks.report.gather import Gathered, gather
from benchmarks.report.summary import (
    NONE,
    LabelFigure,
    LossFigure,
    ResultRow,
    label_column,
    loss_cells,
    metrics_of,
    results,
)
from benchmarks.report.words import megabytes, metric_name
from benchmarks.request import Progress, Request, select, silent
from benchmarks.runtime import load_runtime, runs
from benchmarks.size import run_size
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import dump_json, write_text
from hydramobile.spec import ModelSpec
from hydramobile.support import GOOD, UNMADE, read_support, support_path
from hydramobile.targets import REGISTRY, TARGETS

# One runtime per target, the native one of its files on this computer, because the grid of recipes is large already.
RUNTIMES = tuple(REGISTRY[name].grid_runtime for name in TARGETS)
# A recipe counts as slower or faster than float32 beyond this share: medians of fresh processes vary by a few percent.
NOISE = 0.05
BEGIN, END = "<!-- support:begin -->", "<!-- support:end -->"


@dataclass(frozen=True, slots=True)
class SupportTime:
    """Times by entry as shares of the float32 file's, from `rounds` interleaved rounds.

    `load` holds the least and the greatest 1-minute load average of the rounds.
    """

    runtime: str
    to_float32: Mapping[str, float]
    rounds: int
    load: tuple[float, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SupportRow:
    """One target x recipe: its state, and the figures of the result table.

    `state` is a state of the report, or "not made". `badly` lists measured disadvantages.
    """

    target: str
    recipe: str
    must_ship: bool
    state: str
    bytes: int | None
    gzip: int | None
    losses: Mapping[str, LossFigure]
    labels: LabelFigure | None
    reason: str
    samples: int
    time: SupportTime | None
    badly: Sequence[str]

    @property
    def pair(self) -> tuple[str, str]:
        return self.target, self.recipe


@dataclass(frozen=True, slots=True)
class Processor:
    """The properties of the timing machine on which ratios of times depend."""

    system: str
    processor: str
    flags: tuple[str, ...]
    cores: int | None


@dataclass(frozen=True, slots=True)
class Support:
    """The content of support.json."""

    schema: Literal[1]
    model: str
    spec_sha256: str
    weights_sha256: str
    machine: Processor
    results: Sequence[SupportRow]


def run_support(request: Request, rounds: Rounds | None, progress: Progress = silent) -> Support:
    """Run the missing parity, size and time measurements, write the model's support.json and return its content.

    With `rounds` None nothing is timed. Raises NothingJudged when there is no artifact, StageError for missing or
    stale goldens.
    """
    request = replace(request, runtimes=request.runtimes or RUNTIMES)
    artifacts, _ = select(request)
    for target, recipe in unjudged(request):
        progress(f"judging {target} {recipe}")
        run_parity(replace(request, only=((target, recipe),)), progress)
    sizes = read_earlier(SizeEvidence, request.root)
    weighed = {(row.target, row.recipe, row.artifact) for row in sizes.results} if sizes else set()
    waiting = [
        (built.artifact.target, built.artifact.recipe)
        for built in artifacts
        if (built.artifact.target, built.artifact.recipe, built.artifact.sha256) not in weighed
    ]
    if waiting:
        run_size(replace(request, only=tuple(waiting), runtimes=()), progress)
    times = time_rest(request, rounds, progress) if rounds else read_times(request)
    document = support_of(request, times)
    write_text(support_path(request.spec), dump_json(plain(document)))
    return document


def unjudged(request: Request) -> list[tuple[str, str]]:
    """Return (target, recipe) of each artifact that one of the available chosen runtimes has not judged."""
    parity = read_earlier(ParityEvidence, request.root)
    judged = {(*row.pair, row.artifact, row.runtime) for row in parity.results} if parity else set()
    waiting = []
    for built in select(request)[0]:
        artifact = built.artifact
        able = [name for name in request.runtimes if usable(name, artifact.target, artifact.recipe)]
        if any((artifact.target, artifact.recipe, artifact.sha256, name) not in judged for name in able):
            waiting.append((artifact.target, artifact.recipe))
    return waiting


def usable(name: str, target: str, recipe: str) -> bool:
    runtime = load_runtime(name)
    return runs(runtime, target, recipe) and runtime.unavailable() is None


def read_times(request: Request) -> list[TimeRow]:
    known = read_earlier(TimesEvidence, request.root)
    return list(known.results) if known else []


def time_rest(request: Request, rounds: Rounds, progress: Progress) -> list[TimeRow]:
    """Time each artifact without times, in the same rounds as its target's float32 file; return all rows so far."""
    known = {row.artifact: row for row in read_times(request)}
    artifacts = [built.artifact for built in select(request)[0]]
    current = {artifact.sha256 for artifact in artifacts}
    kept = [row for key, row in known.items() if key in current]
    for target in dict.fromkeys(artifact.target for artifact in artifacts):
        fresh = [
            artifact.recipe
            for artifact in artifacts
            if artifact.target == target and artifact.recipe != "float32" and artifact.sha256 not in known
        ]
        if not fresh:
            continue
        asked = replace(request, only=tuple((target, recipe) for recipe in ("float32", *fresh)))
        lineup = line_up(asked)
        take_rounds(lineup.contenders, rounds, asked, progress)
        grid = evidence_of(asked, rounds, lineup.rows)
        kept += [ratios(grid, row) for row in grid.results if row.recipe in fresh]
        write(request.root, TimesEvidence(**identity_of(request.spec), machine=identity(), results=tuple(kept)))
    return kept


def ratios(grid: GridEvidence, row: GridRow) -> TimeRow:
    """Return one artifact's times by entry as shares of the float32 file's; if untimed, the row holds the reason."""
    summaries = [
        item
        for item in summarize(grid.results)
        if (item.target, item.recipe, item.runtime) == (row.target, row.recipe, row.runtime)
    ]
    loads = [process.load for process in row.processes]
    return TimeRow(
        target=row.target,
        recipe=row.recipe,
        artifact=row.artifact,
        runtime=row.runtime,
        evidence=row.evidence,
        reason=": ".join(filter(None, (row.stage, row.reason))),
        to_float32={item.entry: item.to_float32 for item in summaries if item.to_float32 is not None},
        rounds=grid.rounds,
        load=(min(loads), max(loads)) if loads else (),
    )


def support_of(request: Request, times: Iterable[TimeRow]) -> Support:
    """Return the content of support.json: one row per target and recipe, sorted.

    Rows of an earlier file for the same weights are kept if the request does not select them or there is no artifact.
    """
    spec = request.spec
    asked = {(built.artifact.target, built.artifact.recipe) for built in select(request)[0]}
    evidence = gather(spec, request.out, request.samples)
    timed = {(row.target, row.recipe, row.artifact): row for row in times}
    rows = {row.pair: row for row in earlier(spec)}
    reasons = {verdict.pair: verdict.reason for verdict in evidence.verdicts}
    for row in results(evidence).artifacts:
        pair = (row.target, row.recipe)
        if pair not in asked or row.state not in (*GOOD, "refused", "broken", "failed"):
            continue  # not judged
        artifact = evidence.artifacts.get(pair)
        time = timed.get((*pair, artifact.sha256)) if artifact else None
        rows[pair] = support_row(evidence, row, time, reasons.get(pair, ""))
    rows |= {pair: row for pair, row in unmade(evidence.exports).items() if pair not in evidence.artifacts}
    machine = identity()
    return Support(
        schema=1,
        model=spec.name,
        spec_sha256=spec.sha256,
        weights_sha256=spec.weights_sha256,
        machine=Processor(machine.system, machine.processor, machine.flags, machine.cores),
        results=[rows[pair] for pair in sorted(rows)],
    )


def support_row(evidence: Gathered, row: ResultRow, time: TimeRow | None, reason: str) -> SupportRow:
    judged = evidence.judged(row.target, row.recipe)
    size, base = evidence.size(row.target, row.recipe), evidence.size(row.target, "float32")
    return SupportRow(
        target=row.target,
        recipe=row.recipe,
        must_ship=row.must_ship,
        state=row.state,
        bytes=row.bytes,
        gzip=row.gzip,
        losses=row.losses,
        labels=row.labels,
        reason=reason,
        samples=max((item.samples for item in judged if item.mode not in ("labels", "drawn")), default=0),
        time=SupportTime(time.runtime, time.to_float32, time.rounds, time.load, time.reason) if time else None,
        badly=[*slower(time), *undelegated(size, base)],
    )


def unmade(exports: Mapping[str, Outcome]) -> dict[tuple[str, str], SupportRow]:
    """Return the rows of the recipes that export.json lists as unsupported, unavailable or failed."""
    states = {"not supported": UNMADE, "unavailable": UNMADE, "failed": "failed"}
    return {
        (outcome.target, outcome.recipe): SupportRow(
            target=outcome.target,
            recipe=outcome.recipe,
            must_ship=False,
            state=states[outcome.state],
            bytes=None,
            gzip=None,
            losses={},
            labels=None,
            reason=": ".join(filter(None, (outcome.stage, outcome.reason))),
            samples=0,
            time=None,
            badly=[],
        )
        for outcome in exports.values()
        if outcome.state in states
    }


def load_support(spec: ModelSpec) -> Support | None:
    """Read the model's support.json; None if there is none. Raises StageError("support") for a damaged file."""
    content = read_support(spec)
    try:
        return None if content is None else typed(Support, content)
    except ValueError as error:
        raise StageError("support", f"{support_path(spec)} is not what `make grid` writes: {error}") from error


def earlier(spec: ModelSpec) -> Sequence[SupportRow]:
    document = load_support(spec)
    return document.results if document and document.weights_sha256 == spec.weights_sha256 else ()


def slower(time: TimeRow | None) -> list[str]:
    """Return a note on the entries in which a recipe is slower than float32; empty if there are none."""
    shares = sorted(time.to_float32.items()) if time else []
    slow = [f"{entry} {share:.2f}" for entry, share in shares if share > 1 + NOISE]
    return [f"slower than float32 in {time.runtime}: {', '.join(slow)} of its time"] if time and slow else []


def undelegated(size: SizeRow | None, base: SizeRow | None) -> list[str]:
    """Return a note on the entries with more operators outside the delegate than the float32 file; empty if none."""
    exact = {row.entry: outside(row) for row in (base.delegation if base else ())}
    left = []
    for row in size.delegation if size else ():
        usual = exact.get(row.entry, 0)
        if outside(row) > usual:
            left.append(f"{row.entry} {outside(row)} of {row.ops} (float32: {usual})")
    return [f"operators outside the delegate: {', '.join(left)}"] if left else []


def outside(row: EntryDelegation) -> int:
    return row.ops - row.delegated


def block(document: Support) -> str:
    """Return the table of docs/recipes.md with its markers; it depends on support.json alone."""
    rows = [row for row in document.results if row.state != UNMADE]
    outputs = list(dict.fromkeys(output for row in rows for output in row.losses))
    metric = metrics_of(rows)
    heads = ["target", "recipe", "stands", "an app ships", *(f"{o}: worst {metric_name(metric[o])}" for o in outputs)]
    head, against = label_column(rows)
    heads += [*filter(None, [head]), "time against float32", "what it does badly"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * 3 + " ---: |" * (len(heads) - 4) + " --- |"]
    for row, lost in zip(rows, against, strict=True):
        cells = [row.target, row.recipe, row.state, megabytes(row.bytes) or NONE, *loss_cells(row, outputs)]
        cells += [lost] if head else []
        shares = list(row.time.to_float32.values()) if row.time else []
        cells.append(f"{min(shares):.2f} to {max(shares):.2f}" if shares else NONE)
        cells.append("; ".join(row.badly) or ("" if row.state in GOOD else row.reason))
        lines.append(f"| {' | '.join(cells)} |")
    samples = sorted({row.samples for row in rows if row.samples})
    spread = f"{samples[0]} to {samples[-1]}" if len(samples) > 1 else f"{samples[0] if samples else 0}"
    facts = (
        f"{document.model}, weights `{document.weights_sha256[:12]}`, worst of {spread} judging samples; times "
        f"are ratios within interleaved rounds of fresh processes on {document.machine.processor} (*host*); "
        "a phone differs."
    )
    return "\n".join([BEGIN, *lines, "", facts + never_made(document.results), END])


def never_made(rows: Iterable[SupportRow]) -> str:
    """Return a sentence that lists by target the recipes that it does not make; support.json holds the reasons."""
    recipes: dict[str, list[str]] = {}
    for row in rows:
        if row.state == UNMADE:
            recipes.setdefault(row.target, []).append(row.recipe)
    listed = "; ".join(f"{target}: {', '.join(names)}" for target, names in recipes.items())
    return f" Not made (support.json says why): {listed}." if listed else ""


def renew_table(spec: ModelSpec, readme: Path) -> None:
    """Rewrite the block between the markers of `readme` from support.json.

    Raises UsageError if support.json or a marker is missing.
    """
    document = load_support(spec)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if document is None or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UsageError(f"{readme} needs one {BEGIN} and one {END}, and {support_path(spec)} must exist")
    write_text(readme, text.split(BEGIN)[0] + block(document) + text.split(END)[1])


def conclude_support(document: Support) -> str:
    """Return the reason line of a pass.

    A refused recipe is a result. Raises StageError for a recipe that could not be run, NothingJudged without a
    judged artifact.
    """
    rows = document.results
    if not any(row.losses for row in rows):
        raise NothingJudged("no artifact was judged; make them with: make grid")
    bad = [row for row in rows if row.state == "failed"]
    if bad:
        raise StageError("support", f"{bad[0].target} {bad[0].recipe}: {bad[0].reason} ({len(bad)} failed)")
    good, made = sum(row.state in GOOD for row in rows), sum(row.state != UNMADE for row in rows)
    return f"{good} of {made} recipes are supported, {made - good} refused; {len(rows) - made} are not made"
