"""Latency: load, first run and steady state of every artifact, each in a fresh process.

Artifacts are measured one at a time, so that they do not disturb each other. The times hold for this machine and
predict no phone's: compare them only with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.evidence.envelope import identity_of, read_earlier, typed, updating, write
from benchmarks.evidence.latency import LatencyEvidence, LatencyRow, Load
from benchmarks.kept import KeptRows, since
from benchmarks.machine import identity, load
from benchmarks.request import (
    Built,
    Progress,
    Request,
    by_subject,
    check_goldens,
    check_times,
    reason_of,
    sealed_hashes,
    select,
    shipping,
    silent,
    stage_of,
    still_standing,
    subject_of,
)
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes
from hydramobile.artifact import Artifact, verify
from hydramobile.errors import NothingJudged, StageError
from hydramobile.files import canonical_json, sha256_bytes
from hydramobile.process import WorkerDied, events
from hydramobile.spec import ModelSpec

HANG_LIMIT = 300.0
REFERENCE = "pytorch"


@dataclass(frozen=True, slots=True)
class Timing:
    """Sampling options: `seconds` of steady state per entry, and the number of `threads` per runtime."""

    seconds: float = 1.5
    threads: int = 1

    def __post_init__(self) -> None:
        check_times(self.seconds, self.threads)


def run_latency(request: Request, timing: Timing, progress: Progress = silent) -> LatencyEvidence:
    """Measure the artifacts, write `build/<model>/latency.json` and return its content.

    Without `request.only`, the recipes that must ship are measured. A row of an earlier run is kept if this run did
    not measure it again, its artifact is unchanged and the machine is the same. Raises NothingJudged when there is no
    artifact, StageError for missing or stale goldens.
    """
    names = resolve_runtimes(request.runtimes)
    every, unreadable = select(request)
    ships = shipping(request)
    artifacts = [built for built in every if ships(built.artifact.target, built.artifact.recipe)]
    check_goldens(request)
    rows = [
        LatencyRow(target=u.target, recipe=u.recipe, artifact="", verdict="failed", stage=u.stage, reason=u.reason)
        for u in unreadable
        if ships(u.target, u.recipe)
    ]
    for name in names:
        rows += measure_runtime(request, timing, load_runtime(name), artifacts, progress)
    return write_latency(request, rows)


def write_latency(request: Request, rows: Sequence[LatencyRow]) -> LatencyEvidence:
    """Write `rows`, and the rows of an earlier run that are still valid, to `build/<model>/latency.json`.

    Returns the written evidence.
    """
    with updating(LatencyEvidence, request.root):
        kept, notes = earlier(request, rows)
        evidence = LatencyEvidence(
            **identity_of(request.spec),
            machine=identity(),
            notes=tuple(notes),
            results=by_subject([*rows, *kept]),
        )
        write(request.root, evidence)
    return evidence


def blank(artifact: Artifact, runtime: Runtime) -> LatencyRow:
    """Return a row without times for an artifact in a runtime."""
    return LatencyRow(
        target=artifact.target,
        recipe=artifact.recipe,
        artifact=artifact.sha256,
        runtime=runtime.name,
        evidence=runtime.evidence,
    )


def reference_row(spec: ModelSpec, runtime: Runtime) -> LatencyRow:
    """Return a row without times for the PyTorch reference."""
    return LatencyRow(
        target="",
        recipe="float32",
        artifact=reference_key(spec),
        runtime=runtime.name,
        evidence=runtime.evidence,
    )


def reference_key(spec: ModelSpec) -> str:
    """Return the hash that replaces the artifact's in rows of the PyTorch reference."""
    return sha256_bytes(canonical_json(["reference", spec.sha256, spec.weights_sha256]).encode())


def measure_runtime(
    request: Request, timing: Timing, runtime: Runtime, artifacts: Sequence[Built], progress: Progress
) -> list[LatencyRow]:
    """Time all artifacts of one runtime, or the reference; a row that cannot be timed holds the reason."""
    subjects: list[tuple[LatencyRow, Path | None]] = [
        (blank(built.artifact, runtime), built.folder)
        for built in artifacts
        if built.artifact.target in runtime.targets
    ]
    if runtime.name == REFERENCE:
        subjects = [(reference_row(request.spec, runtime), None)]
    if not subjects:
        return []
    bare = [(replace(row, threads=timing.threads), folder) for row, folder in subjects]
    if not runtime.timed:
        reason = f"its time says nothing about an app ({runtime.about})"
        return [replace(row, verdict="untimed", reason=reason) for row, _ in bare]
    missing = runtime.unavailable()
    if missing:
        return [replace(row, verdict="unavailable", reason=missing) for row, _ in bare]
    built_of = {built.artifact.sha256: built for built in artifacts}
    kept = KeptRows(request, "latency", LatencyRow, [timing.seconds, timing.threads, runtime.name, runtime.version()])
    rows: list[LatencyRow] = []
    for row, folder in bare:
        built, name = built_of.get(row.artifact), f"{runtime.name}: {row.target or 'the reference'} {row.recipe}"
        found = kept.find(built) if built else ()
        progress(f"{name}: {since(found)}" if found else name)
        if found:
            rows += found
            continue
        rows.append(measure(request, timing, replace(row, runtime_version=runtime.version()), folder, progress))
        if built:
            kept.store(rows[-1:], built)
    return rows


def measure(request: Request, timing: Timing, row: LatencyRow, folder: Path | None, progress: Progress) -> LatencyRow:
    """Time one artifact (the reference where `folder` is None) in a fresh process."""
    from hydramobile.artifact import read_artifact

    job = {
        "model": str(request.spec.folder),
        "out": str(request.out),
        "runtime": row.runtime,
        "folder": str(folder) if folder else None,
        "seconds": timing.seconds,
        "threads": timing.threads,
    }
    before = load()
    try:
        if folder:
            verify(folder, read_artifact(folder))
        for event in events("benchmarks.latency.worker", job, request.root / "latency.log", HANG_LIMIT):
            if event["event"] == "stage":
                progress(f"  {event['text']}")
            elif event["event"] == "failed":
                return replace(row, verdict="failed", stage=event["stage"], reason=event["reason"])
            else:
                measured = with_times(row, typed(LatencyRow, event["result"]))
                return replace(measured, load=Load(before, load()))
    except (WorkerDied, StageError) as error:
        return replace(row, verdict="failed", stage=stage_of(error, "run"), reason=reason_of(error))
    return replace(row, verdict="failed", stage="run", reason="the worker ended without a result")


def with_times(row: LatencyRow, times: LatencyRow) -> LatencyRow:
    """Return `row` with the measured fields of `times`; `times` names no artifact."""
    return replace(
        row,
        seconds=times.seconds,
        primary=times.primary,
        cold=times.cold,
        memory=times.memory,
        entries=times.entries,
        ratios=times.ratios,
        environment=times.environment,
    )


def key_of(row: LatencyRow) -> tuple[str, ...]:
    """Return the key of a row: artifact and runtime, and the id of the device (empty for this computer)."""
    return (*subject_of(row), row.device.id if row.device else "")


def earlier(request: Request, fresh: Iterable[LatencyRow]) -> tuple[list[LatencyRow], list[str]]:
    """Return (rows of an earlier run that are still valid, notes on dropped rows)."""
    known = read_earlier(LatencyEvidence, request.root)
    if known is None:
        return [], []
    hashes = sealed_hashes(request.root) | {reference_key(request.spec)}
    kept = still_standing(known.results, fresh, hashes, key_of)
    if known.machine == identity():
        return kept, []
    # Times of a separate device do not depend on the computer that requested them.
    on_device = [row for row in kept if row.evidence == "measured-on-device"]
    count, name = len(known.results) - len(on_device), known.machine.processor if known.machine else "unknown"
    return on_device, [f"{count} results measured on another machine ({name}) were dropped: unlike machines do not mix"]


def conclude_latency(evidence: LatencyEvidence) -> str:
    """Return the reason line of a pass; raise StageError for a failed row, NothingJudged when nothing was timed."""
    rows = evidence.results
    bad = [row for row in rows if row.verdict == "failed"]
    timed = [row for row in rows if row.verdict == "measured" and row.target]
    if bad:
        first = bad[0]
        where = f"{first.target} {first.recipe} in {first.runtime or 'no runtime'}"
        raise StageError(first.stage or "latency", f"{where}: {first.reason} ({len(bad)} of {len(rows)} failed)")
    if not timed:
        raise NothingJudged("no artifact was timed; `python -m benchmarks doctor` says which runtimes can run here")
    return f"{len(timed)} artifacts timed on this machine"
