"""Profile artifacts: milliseconds by operator, from the profiler of the runtime, in a separate process.

A profiled run is slower than a plain one, so only its shares are meaningful. Its outputs are discarded. Latency comes
from `latency` and `grid`, which never profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.evidence.envelope import identity_of, typed, write
from benchmarks.evidence.profile import EntryProfile, KindTime, OpTime, ProfileEvidence, ProfileRow
from benchmarks.kept import KeptRows, since
from benchmarks.machine import identity, load
from benchmarks.optional import Profiler
from benchmarks.request import (
    Built,
    Progress,
    Request,
    by_subject,
    check_goldens,
    select,
    shipping,
    silent,
)
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes
from hydramobile.artifact import Entry
from hydramobile.errors import NothingJudged, StageError
from hydramobile.process import WorkerDied, events

HANG_LIMIT = 300.0


def run_profile(request: Request, progress: Progress = silent) -> ProfileEvidence:
    """Profile the recipes that must ship (or the selection of `request.only`), and write the result.

    The file is `build/<model>/profile.json`; its content is returned. Raises NothingJudged when there is no artifact,
    StageError for missing or stale goldens.
    """
    names = resolve_runtimes(request.runtimes)
    artifacts, broken = select(request)
    check_goldens(request)
    ships = shipping(request)
    rows = [
        ProfileRow(target=u.target, recipe=u.recipe, artifact="", verdict="failed", stage=u.stage, reason=u.reason)
        for u in broken
    ]
    for name in names:
        runtime = load_runtime(name)
        rows += [
            profile_artifact(request, runtime, built, progress)
            for built in artifacts
            if built.artifact.target in runtime.targets and ships(built.artifact.target, built.artifact.recipe)
        ]
    evidence = ProfileEvidence(**identity_of(request.spec), machine=identity(), results=by_subject(rows))
    write(request.root, evidence)
    return evidence


def profile_artifact(request: Request, runtime: Runtime, built: Built, progress: Progress) -> ProfileRow:
    artifact = built.artifact
    row = ProfileRow(
        target=artifact.target,
        recipe=artifact.recipe,
        artifact=artifact.sha256,
        runtime=runtime.name,
        evidence=runtime.evidence,
    )
    if not isinstance(runtime, Profiler):
        return replace(row, verdict="unavailable", reason=f"{runtime.name} offers no profile by operator")
    missing = runtime.unavailable() or runtime.no_profile()
    if missing:
        return replace(row, verdict="unavailable", reason=missing)
    kept = KeptRows(request, "profile", ProfileRow, [runtime.name, runtime.version()])
    found, name = kept.find(built), f"{runtime.name}: {artifact.target} {artifact.recipe}"
    progress(f"{name}: {since(found)}" if found else name)
    if found:
        return found[0]
    profiled = measure(request, replace(row, runtime_version=runtime.version(), load=load()), built)
    kept.store([profiled], built)
    return profiled


def measure(request: Request, row: ProfileRow, built: Built) -> ProfileRow:
    """Profile one artifact in a process of its own."""
    job = {
        "model": str(request.spec.folder),
        "out": str(request.out),
        "runtime": row.runtime,
        "folder": str(built.folder),
    }
    try:
        for event in events("benchmarks.profile.worker", job, request.root / "profile.log", HANG_LIMIT):
            if event["event"] == "failed":
                return replace(row, verdict="failed", stage=event["stage"], reason=event["reason"])
            return replace(row, entries=tuple(typed(EntryProfile, entry) for entry in event["entries"]))
    except WorkerDied as error:
        return replace(row, verdict="failed", reason=str(error))
    return replace(row, verdict="failed", reason="the worker ended without a result")


def by_kind(ops: Iterable[OpTime]) -> tuple[KindTime, ...]:
    """Return the times by kernel, in descending order."""
    kinds: dict[str, list[OpTime]] = {}
    for op in ops:
        kinds.setdefault(op.kind, []).append(op)
    total = sum(op.ms for group in kinds.values() for op in group) or 1.0
    rows = [
        KindTime(
            kind=kind,
            ms=round(sum(op.ms for op in group), 4),
            share=round(sum(op.ms for op in group) / total, 4),
            calls=round(sum(op.calls for op in group)),
            slowest=max(group, key=lambda op: op.ms).name,
        )
        for kind, group in kinds.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.ms))


def entry_profile(entry: Entry, ops: Sequence[OpTime]) -> EntryProfile:
    return EntryProfile(
        entry=entry.id,
        modules=entry.modules,
        ms=round(sum(op.ms for op in ops), 4),
        kinds=by_kind(ops),
        ops=tuple(replace(op, ms=round(op.ms, 5)) for op in ops),
    )


def conclude_profile(evidence: ProfileEvidence) -> str:
    """Return the reason line of a pass; raise StageError for a failed row, NothingJudged without any profile."""
    rows = evidence.results
    bad = [row for row in rows if row.verdict == "failed"]
    profiled = [row for row in rows if row.verdict == "measured"]
    if bad:
        first = bad[0]
        name = f"{first.target} {first.recipe} in {first.runtime or 'no runtime'}"
        stage = f"{first.stage}: " if first.stage and first.artifact else ""
        raise StageError("profile", f"{name}: {stage}{first.reason} ({len(bad)} of {len(rows)} failed)")
    if not profiled:
        reasons = "; ".join(sorted({row.reason for row in rows}))
        raise NothingJudged(f"nothing was profiled: {reasons or 'none of the chosen runtimes runs these artifacts'}")
    return f"{len(profiled)} artifacts profiled by operator"
