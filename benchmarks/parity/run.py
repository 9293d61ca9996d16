"""Parity: every artifact x entry x runtime against the reference's goldens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.evidence.envelope import identity_of, plain, read_earlier, typed, updating, write
from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.kept import KeptRows, since
from benchmarks.machine import identity
from benchmarks.parity import lean
from benchmarks.parity.bench import Bench, load_bench
from benchmarks.parity.rows import blank, leave_out
from benchmarks.request import (
    Built,
    Progress,
    Request,
    names_of,
    sealed_hashes,
    select,
    silent,
    still_standing,
    subject_of,
)
from benchmarks.runtime import Runtime, load_runtime, on_request, resolve_runtimes, runs
from hydramobile.goldens import golden_digest
from hydramobile.process import WorkerDied, events
from hydramobile.samples import Sample, load_samples, refuse_calibrated

HANG_LIMIT = 600.0
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """The artifacts that one runtime judges, in one worker process."""

    runtime: Runtime
    artifacts: Sequence[Built]


def run_parity(request: Request, progress: Progress = silent) -> ParityEvidence:
    """Judge the artifacts, write `build/<model>/parity.json` and return its content.

    A partial request replaces only the rows that it measured; other rows are kept if their artifact is unchanged.
    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens and for bad labels.
    """
    names = resolve_runtimes(request.runtimes)
    artifacts, broken = select(request)
    samples = load_samples(request.spec, "judge", request.samples)
    bench = load_bench(request.spec, request.out, request.samples, 0, names_of(artifacts))
    calibrated = {f"{b.artifact.target}/{b.artifact.recipe}": b.artifact.calibration for b in artifacts}
    refuse_calibrated(request.root, calibrated, judging_photos(bench, samples))
    rows = [
        ParityRow(target=u.target, recipe=u.recipe, artifact="", verdict="failed", stage=u.stage, reason=u.reason)
        for u in broken
    ]
    jobs, missing, left = plan(request, [load_runtime(name) for name in names], artifacts)
    kept = KeptRows(request, "parity", ParityRow, basis_of(bench, request))
    jobs, unchanged = drop_judged(jobs, kept, bench, progress)
    rows += [*missing, *unchanged]

    def store(job: Job, built: Built, judged: Sequence[ParityRow]) -> None:
        kept.store(judged, built, *dependencies(bench, job.runtime, built))

    with ThreadPoolExecutor(WORKERS) as pool:
        for judged in pool.map(lambda job: judge_runtime(request, job, progress, store), jobs):
            rows += judged
    with updating(ParityEvidence, request.root):
        return merge(request, rows, left, (bench, len(samples)))


def merge(
    request: Request, rows: list[ParityRow], left: Sequence[ParityRow], judged_by: tuple[Bench, int]
) -> ParityEvidence:
    """Write the rows, keep earlier rows whose artifacts are unchanged, and return the content of parity.json."""
    bench, samples = judged_by
    earlier = read_earlier(ParityEvidence, request.root)
    kept = still_standing(earlier.results, rows, sealed_hashes(request.root), subject_of) if earlier else []
    known = {subject_of(row) for row in kept}
    rows += [row for row in left if subject_of(row) not in known]
    # Runtimes that run only on request are not part of a full run, which would otherwise drop their rows.
    rows += kept if request.partial else [row for row in kept if on_request(row.runtime)]
    evidence = ParityEvidence(
        **identity_of(request.spec),
        machine=identity(),
        samples=tuple(golden.sample for golden in bench.goldens),
        samples_asked=samples,
        results=tuple(sorted(rows, key=lambda row: (*subject_of(row), row.entry, row.mode))),
    )
    write(request.root, evidence)
    return evidence


def judging_photos(bench: Bench, samples: Sequence[Sample]) -> list[Sample]:
    """Return every judging photo: samples and labels, also of the model that artifacts replace."""
    labelled = [one.labelled for one in (bench, bench.against) if one and one.labelled]
    return [*samples, *(label.photo for one in labelled for label in one.labels.all)]


def plan(
    request: Request, runtimes: Sequence[Runtime], artifacts: Sequence[Built]
) -> tuple[list[Job], list[ParityRow], list[ParityRow]]:
    """Return (jobs, longest first; rows of runtimes that cannot run here; rows that a lean run skips)."""
    jobs: list[Job] = []
    missing: list[ParityRow] = []
    left: list[ParityRow] = []
    for runtime in runtimes:
        runnable = [built for built in artifacts if runs(runtime, built.artifact.target, built.artifact.recipe)]
        reason = runtime.unavailable() if runnable else None
        if reason:
            missing += [replace(blank(b.artifact, runtime), verdict="unavailable", reason=reason) for b in runnable]
            continue
        if request.lean:
            shown = {built.artifact.sha256: lean.shown_by(runtime, built.artifact, runtimes) for built in runnable}
            left += [left_to(runtime, b, other) for b in runnable if (other := shown[b.artifact.sha256])]
            runnable = [built for built in runnable if not shown[built.artifact.sha256]]
        if runnable:
            jobs.append(Job(runtime, runnable))
    # The longest first, so that it does not run alone at the end.
    return sorted(jobs, key=lambda job: -len(job.artifacts)), missing, left


def basis_of(bench: Bench, request: Request) -> list[Any]:
    """Return what every verdict depends on beyond the artifact: options, goldens, drawn inputs, labels."""
    labels = [
        [one.labels.sha256, dict(one.reference), one.most]
        for one in (bench.labelled, bench.against and bench.against.labelled)
        if one
    ]
    benches = [one for one in (bench, bench.against) if one]
    goldens = [[golden_digest(golden) for golden in (*one.goldens, *one.drawn)] for one in benches]
    return [request.bisect, request.most, request.lean, goldens, labels]


def dependencies(bench: Bench, runtime: Runtime, built: Built) -> list[Any]:
    """Return what the verdict on one artifact in one runtime depends on: the runtime, and the limits of both models."""
    target, recipe = built.artifact.target, built.artifact.recipe
    benches = [one for one in (bench, bench.against) if one]
    limits = [one.budget.of(target, recipe) for one in benches]
    return [runtime.name, runtime.version(), bench.budget.stands_in(target, recipe), plain(limits)]


def drop_judged(
    jobs: Sequence[Job], kept: KeptRows[ParityRow], bench: Bench, progress: Progress
) -> tuple[list[Job], list[ParityRow]]:
    """Return (the jobs without artifacts that an earlier run judged and that are unchanged, the rows of these)."""
    left: list[Job] = []
    rows: list[ParityRow] = []
    for job in jobs:
        waiting: list[Built] = []
        for built in job.artifacts:
            found = kept.find(built, *dependencies(bench, job.runtime, built))
            if found:
                name = f"{job.runtime.name}: {built.artifact.target} {built.artifact.recipe}"
                progress(f"{name}: {since(found)}")
                rows += found
            else:
                waiting.append(built)
        if waiting:
            left.append(replace(job, artifacts=waiting))
    return left, rows


def left_to(runtime: Runtime, built: Built, other: str) -> ParityRow:
    return leave_out(blank(built.artifact, runtime), f"computes in float32, as in {other}, which judges it")


def judge_runtime(
    request: Request,
    job: Job,
    progress: Progress,
    done: Callable[[Job, Built, Sequence[ParityRow]], None] = lambda *of: None,
) -> list[ParityRow]:
    """Judge all artifacts of one runtime in a worker process. `done` is called with the rows of each judged artifact.

    If the process dies, the artifact that it was judging fails, and a new process judges the remaining ones.
    """
    rows: list[ParityRow] = []
    runtime, waiting = job.runtime, {built.folder: built.artifact for built in job.artifacts}
    asked = {built.folder: built for built in job.artifacts}
    while waiting:
        content = {
            "model": str(request.spec.folder),
            "out": str(request.out),
            "samples": str(request.samples) if request.samples else None,
            "runtime": runtime.name,
            "bisect": request.bisect,
            "most": request.most,
            "lean": request.lean,
            "folders": [str(folder) for folder in waiting],
        }
        current = next(iter(waiting))
        try:
            for event in events("benchmarks.parity.worker", content, request.root / "parity.log", HANG_LIMIT):
                if Path(event["folder"]) not in waiting:
                    raise WorkerDied(f"the worker reported {event['folder']}, which was not asked of it")
                current = Path(event["folder"])
                if event["event"] == "start":
                    progress(f"{runtime.name}: {waiting[current].target} {waiting[current].recipe}")
                elif event["event"] == "result":
                    row = row_of(event["result"], blank(waiting[current], runtime))
                    rows.append(replace(row, runtime_version=runtime.version()))
                elif event["event"] == "done":
                    del waiting[current]
                    built = asked[current]
                    done(job, built, [row for row in rows if row.artifact == built.artifact.sha256])
        except WorkerDied as error:
            artifact = waiting.pop(current)
            rows.append(replace(blank(artifact, runtime), verdict="failed", stage="run", reason=str(error)))
    return rows


def row_of(content: object, base: ParityRow) -> ParityRow:
    """Return the row that a worker sent. Raises WorkerDied where it is no row of the artifact that it judges."""
    try:
        row = typed(ParityRow, content)
    except ValueError as error:
        raise WorkerDied(f"the worker sent no row of parity: {error}") from error
    if (*subject_of(row), row.artifact) != (*subject_of(base), base.artifact):
        raise WorkerDied(f"the worker sent a row of {row.name} in {row.runtime} while it judged {base.name}")
    return row
