"""The whole grid in interleaved rounds: in every round each artifact is timed in a fresh process of its own.

One process is one sample: what it inherits (memory layout, core, clock) stays the same for as long as it lives, so
only several processes show how far a median moves by itself. Rounds take turns, so that a machine that gets busier
for a while slows every artifact, and a ratio is taken within a round.
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
    """`count` processes per artifact; `seconds` of steady state per entry in each; `threads` a runtime may use."""

    count: int = 5
    seconds: float = 0.5
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1000:
            raise UsageError(f"--rounds {self.count} is not within 1 to 1000")
        check_times(self.seconds, self.threads)


@dataclass(slots=True)
class Contender:
    """An artifact in a runtime; the reference itself where `folder` is None. `row` collects its samples."""

    request: Request
    folder: Path | None
    row: GridRow


@dataclass(frozen=True, slots=True)
class Lineup:
    """The contenders of a build folder, and rows that say what cannot be timed, and why."""

    contenders: Sequence[Contender]
    untimed: Sequence[GridRow]

    @property
    def rows(self) -> list[GridRow]:
        return [*self.untimed, *(contender.row for contender in self.contenders)]


def run_grid(request: Request, rounds: Rounds, progress: Progress = silent) -> GridEvidence:
    """Time every artifact in every runtime that can; writes `build/<model>/grid.json` and returns its content.

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
    """Return folder and blank row of each artifact that the runtime runs, or of the reference."""
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
    """Fill the contenders' rows: one process each per round, in an order that turns. `goldens` has the inputs."""
    for index in range(rounds.count):
        first = index % max(len(contenders), 1)
        for contender in (*contenders[first:], *contenders[:first]):
            row = contender.row
            if row.verdict == "measured":
                what = f"{row.target or 'the reference'} {row.recipe}"
                progress(f"round {index + 1} of {rounds.count}: {row.runtime} {what}")
                contender.row = sample(contender, rounds, goldens, index)


def sample(contender: Contender, rounds: Rounds, goldens: Request, index: int) -> GridRow:
    """Return a contender's row after one more process."""
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
    """One artifact, runtime and entry: the median of its processes' medians in milliseconds, with their quartiles.

    `to_float32` is the median over the rounds of the ratio to the float32 file of the same target in the same
    runtime; None for that file itself, and without it.
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
    """Return one summary per artifact, runtime and entry that was timed."""
    rows = list(rows)
    base = {(row.target, row.runtime): row.medians for row in rows if row.recipe == "float32"}
    found: list[Summary] = []
    for row in rows:
        for entry, times in row.medians.items():
            low, middle, high = (float(value) for value in np.quantile(list(times.values()), (0.25, 0.5, 0.75)))
            exact = base.get((row.target, row.runtime), {}).get(entry, {})
            shares = [times[index] / exact[index] for index in times if index in exact]
            found.append(
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
    return found


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
