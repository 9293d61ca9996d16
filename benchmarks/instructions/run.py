"""Count ARM instructions per inference, by class: a cost without noise.

Instructions are work, not time: a core retires several per cycle, and their number depends on the instructions. A
count shows small differences between two builds of the same net, on which the gate
(benchmarks/instructions/baseline.py) fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.evidence.envelope import identity_of, read_earlier, typed, updating, write
from benchmarks.evidence.instructions import EntryCounts, InstructionEvidence, InstructionRow
from benchmarks.optional import Counting
from benchmarks.request import (
    Built,
    Progress,
    Request,
    by_subject,
    check_goldens,
    sealed_hashes,
    select,
    shipping,
    silent,
    still_standing,
    subject_of,
)
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes, runs
from hydramobile.process import WorkerDied, events

HANG_LIMIT = 900.0
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Job:
    """The artifacts that one runtime counts, in one worker process."""

    runtime: Runtime
    artifacts: Sequence[Built]


def run_instructions(request: Request, progress: Progress = silent) -> InstructionEvidence:
    """Count the recipes that must ship (or the selection of `request.only`), and write the result.

    The file is `build/<model>/instructions.json`; its content is returned. Raises NothingJudged when there is no
    artifact, StageError for missing or stale goldens.
    """
    names = resolve_runtimes(request.runtimes or ("arm",))
    every, broken = select(request)
    check_goldens(request)
    ships = shipping(request)
    artifacts = [built for built in every if ships(built.artifact.target, built.artifact.recipe)]
    rows = [
        InstructionRow(target=u.target, recipe=u.recipe, artifact="", verdict="failed", stage=u.stage, reason=u.reason)
        for u in broken
        if ships(u.target, u.recipe)
    ]
    jobs: list[Job] = []
    for runtime in map(load_runtime, names):
        runnable = [built for built in artifacts if runs(runtime, built.artifact.target, built.artifact.recipe)]
        missing = runtime.unavailable() if isinstance(runtime, Counting) else f"{runtime.name} counts no instructions"
        if missing:
            rows += [replace(blank(built, runtime), verdict="unavailable", reason=missing) for built in runnable]
        elif runnable:
            jobs.append(Job(runtime, runnable))
    with ThreadPoolExecutor(WORKERS) as pool:
        for counted in pool.map(lambda job: count_runtime(request, job, progress), jobs):
            rows += counted
    with updating(InstructionEvidence, request.root):
        earlier = read_earlier(InstructionEvidence, request.root)
        if earlier:
            rows += still_standing(earlier.results, rows, sealed_hashes(request.root), subject_of)
        evidence = InstructionEvidence(**identity_of(request.spec), results=by_subject(rows))
        write(request.root, evidence)
    return evidence


def blank(built: Built, runtime: Runtime) -> InstructionRow:
    return InstructionRow(
        target=built.artifact.target,
        recipe=built.artifact.recipe,
        artifact=built.artifact.sha256,
        runtime=runtime.name,
    )


def count_runtime(request: Request, job: Job, progress: Progress) -> list[InstructionRow]:
    """Count all artifacts of one runtime in a worker process.

    If the process dies, the artifact that it was counting fails, and a new process counts the remaining ones.
    """
    rows: list[InstructionRow] = []
    runtime, waiting = job.runtime, {built.folder: built for built in job.artifacts}
    while waiting:
        content = {
            "model": str(request.spec.folder),
            "out": str(request.out),
            "runtime": runtime.name,
            "folders": [str(folder) for folder in waiting],
        }
        current = next(iter(waiting))
        log = request.root / "instructions.log"
        try:
            for event in events("benchmarks.instructions.worker", content, log, HANG_LIMIT):
                current = Path(event["folder"])
                if event["event"] == "start":
                    progress(f"{runtime.name}: {waiting[current].artifact.target} {waiting[current].artifact.recipe}")
                    continue
                row = replace(blank(waiting.pop(current), runtime), runtime_version=runtime.version())
                entries = tuple(typed(EntryCounts, entry) for entry in event["entries"])
                if event["reason"]:
                    row = replace(row, verdict="failed", reason=event["reason"])
                rows.append(replace(row, entries=entries))
        except WorkerDied as error:
            row = replace(blank(waiting.pop(current), runtime), runtime_version=runtime.version())
            rows.append(replace(row, verdict="failed", reason=str(error)))
    return rows
