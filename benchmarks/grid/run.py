"""Time all artifacts in interleaved rounds: every round times each artifact in one fresh process.

One process gives one sample. Its memory layout, core and clock stay the same for its lifetime, so that only several
processes show the variation of a median. In each round all artifacts run, so that a temporary load on the machine
slows all of them, and a ratio is taken within one round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from benchmarks.evidence.envelope import identity_of, typed, write
from benchmarks.evidence.grid import GridEvidence, GridRow, Process, ProcessEntry
from benchmarks.evidence.row import Label
from benchmarks.latency.run import HANG_LIMIT, REFERENCE, reference_key
from benchmarks.machine import identity, load
from benchmarks.request import (
    Built,
    Progress,
    Request,
    by_subject,
    check_goldens,
    check_times,
    reason_of,
    select,
    silent,
)
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes
from hydramobile.artifact import verify
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.process import WorkerDied, events


@dataclass(frozen=True, slots=True)
class Rounds:
    """Options of a grid: `count` processes per artifact, `seconds` of steady state per entry, `threads` per runtime."""

    count: int = 5
    seconds: float = 0.5
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1000:
            raise UsageError(f"--rounds {self.count} is not within 1 to 1000")
        check_times(self.seconds, self.threads)


@dataclass(slots=True)
class Contender:
    """An artifact to time in a runtime; the PyTorch reference if `folder` is None. `row` collects its samples."""

    request: Request
    folder: Path | None
    row: GridRow


@dataclass(frozen=True, slots=True)
class Lineup:
    """The contenders of a build folder, and rows with reasons for artifacts that cannot be timed."""

    contenders: Sequence[Contender]
    untimed: Sequence[GridRow]

    @property
    def rows(self) -> list[GridRow]:
        return [*self.untimed, *(contender.row for contender in self.contenders)]


def run_grid(request: Request, rounds: Rounds, progress: Progress = silent) -> GridEvidence:
    """Time every artifact in every runtime that can run it, write `build/<model>/grid.json` and return its content.

    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens.
    """
    check_goldens(request)
    lineup = line_up(request)
    take_rounds(lineup.contenders, rounds, request, progress)
    evidence = evidence_of(request, rounds, lineup.rows)
    write(request.root, evidence)
    return evidence


def line_up(request: Request) -> Lineup:
    names = resolve_runtimes(request.runtimes)
    artifacts, broken = select(request)
    untimed = [
        GridRow(target=u.target, recipe=u.recipe, artifact="", verdict="failed", stage=u.stage, reason=u.reason)
        for u in broken
    ]
    contenders: list[Contender] = []
    for name in names:
        runtime = load_runtime(name)
        reason = runtime.unavailable() if runtime.timed else f"its time says nothing about an app ({runtime.about})"
        for folder, row in entrants(request, runtime, artifacts):
            if reason:
                untimed.append(replace(row, verdict="unavailable" if runtime.timed else "untimed", reason=reason))
            else:
                row = replace(row, runtime_version=runtime.version())
                contenders.append(Contender(request, folder, row))
    return Lineup(contenders, untimed)


def entrants(request: Request, runtime: Runtime, artifacts: Sequence[Built]) -> list[tuple[Path | None, GridRow]]:
    """Return (folder, row without times) of each artifact of the runtime, or of the reference."""
    if runtime.name == REFERENCE:
        key = reference_key(request.spec)
        row = GridRow(target="", recipe="float32", artifact=key, runtime=runtime.name, evidence=runtime.evidence)
        return [(None, row)]
    return [
        (
            built.folder,
            GridRow(
                target=built.artifact.target,
                recipe=built.artifact.recipe,
                artifact=built.artifact.sha256,
                runtime=runtime.name,
                evidence=runtime.evidence,
            ),
        )
        for built in artifacts
        if built.artifact.target in runtime.targets
    ]


def take_rounds(contenders: Sequence[Contender], rounds: Rounds, goldens: Request, progress: Progress) -> None:
    """Add one process per contender and round to the contenders' rows; the order rotates with the round.

    `goldens` is the request whose goldens give the inputs.
    """
    for index in range(rounds.count):
        first = index % max(len(contenders), 1)
        for contender in (*contenders[first:], *contenders[:first]):
            row = contender.row
            if row.verdict == "measured":
                what = f"{row.target or 'the reference'} {row.recipe}"
                progress(f"round {index + 1} of {rounds.count}: {row.runtime} {what}")
                contender.row = sample(contender, rounds, goldens, index)


def sample(contender: Contender, rounds: Rounds, goldens: Request, index: int) -> GridRow:
    """Time a contender in one process, and return its row with the result."""
    row = contender.row
    job = {
        "model": str(goldens.spec.folder),
        "out": str(goldens.out),
        "runtime": row.runtime,
        "folder": str(contender.folder) if contender.folder else None,
        "seconds": rounds.seconds,
        "threads": rounds.threads,
    }
    before = load()
    try:
        if contender.folder and not row.processes:
            from hydramobile.artifact import read_artifact

            verify(contender.folder, read_artifact(contender.folder))
        for event in events("benchmarks.grid.worker", job, goldens.root / "grid.log", HANG_LIMIT):
            if event["event"] == "failed":
                return replace(row, verdict="failed", stage=event["stage"], reason=event["reason"])
            entries = tuple(typed(ProcessEntry, entry) for entry in event["entries"])
            return replace(row, processes=(*row.processes, Process(index, before, entries)))
    except StageError as error:
        return replace(row, verdict="failed", stage=error.stage, reason=error.message)
    except WorkerDied as error:
        return replace(row, verdict="failed", reason=reason_of(error))
    return replace(row, verdict="failed", reason="the worker ended without a result")


def evidence_of(request: Request, rounds: Rounds, rows: Iterable[GridRow]) -> GridEvidence:
    return GridEvidence(
        **identity_of(request.spec),
        machine=identity(),
        rounds=rounds.count,
        seconds=rounds.seconds,
        threads=rounds.threads,
        results=by_subject(rows),
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Times of one entry in one runtime: median and quartiles of its processes' medians, in milliseconds.

    `to_float32` is the median over the rounds of the ratio to the float32 file of the same target in the same runtime.
    It is None for the float32 file, and if that file was not timed.
    """

    target: str
    recipe: str
    runtime: str
    evidence: Label | Literal[""]
    entry: str
    processes: int
    p50_ms: float
    low_ms: float
    high_ms: float
    to_float32: float | None


def summarize(rows: Iterable[GridRow]) -> list[Summary]:
    """Summarize the rows: one summary per timed artifact, runtime and entry."""
    rows = list(rows)
    base = {(row.target, row.runtime): row.medians for row in rows if row.recipe == "float32"}
    summaries: list[Summary] = []
    for row in rows:
        for entry, times in row.medians.items():
            low, middle, high = (float(value) for value in np.quantile(list(times.values()), (0.25, 0.5, 0.75)))
            exact = base.get((row.target, row.runtime), {}).get(entry, {})
            shares = [times[index] / exact[index] for index in times if index in exact]
            summaries.append(
                Summary(
                    target=row.target,
                    recipe=row.recipe,
                    runtime=row.runtime,
                    evidence=row.evidence,
                    entry=entry,
                    processes=len(times),
                    p50_ms=round(middle, 4),
                    low_ms=round(low, 4),
                    high_ms=round(high, 4),
                    to_float32=round(median(shares), 4) if shares and row.recipe != "float32" else None,
                )
            )
    return summaries


def conclude_grid(evidence: GridEvidence) -> str:
    """Return the reason line of a pass; raise StageError for a failed row, NothingJudged when nothing was timed."""
    rows = evidence.results
    bad = [row for row in rows if row.verdict == "failed"]
    timed = [row for row in rows if row.verdict == "measured" and row.target]
    if bad:
        first = bad[0]
        name = f"{first.target} {first.recipe} in {first.runtime or 'no runtime'}"
        stage = f"{first.stage}: " if first.stage and first.artifact else ""
        raise StageError("grid", f"{name}: {stage}{first.reason} ({len(bad)} of {len(rows)} failed)")
    if not timed:
        raise NothingJudged("no artifact was timed; `python -m benchmarks doctor` says which runtimes can run here")
    return f"{len(timed)} artifacts timed in {evidence.rounds} interleaved rounds on this machine"
