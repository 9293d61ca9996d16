"""Plan an export, run one worker process a target, and say what became of every recipe."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.seal import ROOT, input_hash
from export.target import load_target
from models.artifact import artifact_folder, read_artifact, verify, write_manifest
from models.budget import load_budget
from models.errors import StageError, UsageError
from models.files import dump_json, locked, read_json, write_text
from models.recipes import recipe
from models.spec import ModelSpec

# Seconds without any sign of progress after which a worker is taken for hung.
HANG_LIMIT = 600.0
# Two workers keep two cores busy; more would only raise the memory peak.
WORKERS = min(2, os.cpu_count() or 1)
STATES = ("exported", "up to date", "not supported", "unavailable", "failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target x recipe. `reason` explains every state but the first two; `stage` where it failed."""

    target: str
    recipe: str
    state: str
    stage: str = ""
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    spec: ModelSpec
    out: Path
    jobs: dict[str, tuple[str, ...]]
    settled: tuple[Outcome, ...]


Progress = Callable[[str, str], None]


def make_plan(spec: ModelSpec, targets: Sequence[str], recipes: Sequence[str], out: Path, overwrite: bool) -> Plan:
    """Decide what has to be made. `recipes` empty means those of the model's budget.

    Raises UsageError before anything runs when an artifact with other inputs stands in the way and `overwrite`
    is not set.
    """
    budget = load_budget(spec)
    jobs: dict[str, tuple[str, ...]] = {}
    settled: list[Outcome] = []
    blocked: list[str] = []
    for name in targets:
        target = load_target(name)
        missing = target.unavailable()
        for chosen in recipes or budget.recipes(name):
            reason = target.refuses(recipe(chosen))
            if reason:
                settled.append(Outcome(name, chosen, "not supported", reason=reason))
            elif missing:
                settled.append(Outcome(name, chosen, "unavailable", reason=missing))
            elif is_current(spec, name, chosen, out):
                settled.append(Outcome(name, chosen, "up to date"))
            else:
                folder = artifact_folder(out, spec.name, name, chosen)
                if folder.exists() and not overwrite:
                    blocked.append(str(folder))
                jobs[name] = (*jobs.get(name, ()), chosen)
    if blocked:
        raise UsageError(f"{', '.join(blocked)} holds another artifact; --overwrite replaces it")
    return Plan(spec, out, jobs, tuple(settled))


def is_current(spec: ModelSpec, target: str, chosen: str, out: Path) -> bool:
    """Whether an intact artifact made from the same inputs stands in its place."""
    folder = artifact_folder(out, spec.name, target, chosen)
    try:
        artifact = read_artifact(folder)
        verify(folder, artifact)
    except StageError:
        return False
    return artifact.input_hash == input_hash(spec, load_target(target), recipe(chosen))


def run_plan(plan: Plan, progress: Progress, limit: float = HANG_LIMIT) -> list[Outcome]:
    """Run every job, rebuild manifest.json, and record all outcomes in export.json."""
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(run_target, plan, name, recipes, progress, limit) for name, recipes in plan.jobs.items()]
        outcomes = [*plan.settled, *(outcome for job in running for outcome in job.result())]
    root = plan.out / plan.spec.name
    write_manifest(root)
    record(root, outcomes)
    return outcomes


def record(root: Path, outcomes: Sequence[Outcome]) -> None:
    """Merge outcomes into `root`/export.json, so that the report can show what failed and why."""
    with locked(root / ".export.lock"):
        path = root / "export.json"
        try:
            known: dict[str, Any] = read_json(path, "export")["outcomes"] if path.is_file() else {}
        except (StageError, KeyError, TypeError):
            known = {}  # a damaged record is rebuilt; artifacts do not depend on it
        known |= {f"{outcome.target}/{outcome.recipe}": asdict(outcome) for outcome in outcomes}
        write_text(path, dump_json({"schema": 1, "outcomes": dict(sorted(known.items()))}))


def run_target(plan: Plan, target: str, recipes: tuple[str, ...], progress: Progress, limit: float) -> list[Outcome]:
    """All recipes of one target. When a recipe kills the worker, a new worker makes the remaining ones."""
    outcomes: list[Outcome] = []
    waiting = list(recipes)
    while waiting:
        made = run_worker(plan, target, tuple(waiting), progress, limit)
        outcomes += made
        settled = {outcome.recipe for outcome in made}
        waiting = [name for name in waiting if name not in settled]
    return outcomes


def run_worker(plan: Plan, target: str, recipes: tuple[str, ...], progress: Progress, limit: float) -> list[Outcome]:
    """One worker process. Returns an outcome for at least one recipe: those it finished, or the one it died in."""
    log = plan.out / plan.spec.name / target / "export.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    job = {"model": str(plan.spec.folder), "target": target, "recipes": recipes, "out": str(plan.out)}
    try:
        with log.open("ab") as noise:
            process = subprocess.Popen(
                [sys.executable, "-m", "export.worker", str(writer)],
                stdin=subprocess.PIPE,
                stdout=noise,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
                env=worker_environment(),
                start_new_session=True,
            )
            os.close(writer)
            assert process.stdin is not None
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
            with os.fdopen(reader, "rb", buffering=0) as events:
                return follow(process, events.fileno(), (target, recipes), progress, limit)
    except OSError as error:
        raise StageError("export", f"the worker for {target} could not start: {error}") from error


def worker_environment() -> dict[str, str]:
    """One thread, no chatter, a fixed hash seed (set order must not reach the bytes), the repository importable."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **os.environ,
        **single,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def follow(
    process: subprocess.Popen[bytes], events: int, job: tuple[str, tuple[str, ...]], progress: Progress, limit: float
) -> list[Outcome]:
    """Read events until the worker ends or hangs; turn them into outcomes."""
    target, recipes = job
    outcomes: list[Outcome] = []
    stage, current, started = "start", "", time.monotonic()
    pending = b""
    while True:
        ready, _, _ = select.select([events], [], [], limit)
        if not ready:
            kill(process)
            return [*outcomes, *lost(target, recipes, stage, current, f"no progress for {limit:.0f} s, killed")]
        block = os.read(events, 65536)
        if not block:
            break
        *lines, pending = (pending + block).split(b"\n")
        for event in map(json.loads, lines):
            if event["event"] == "start":
                stage, current, started = event["stage"], event["recipe"], time.monotonic()
                progress(target, f"{stage} {current}".strip())
            elif event["event"] == "failed":
                failed = (event["recipe"],) if event["recipe"] else recipes
                outcomes += [Outcome(target, name, "failed", event["stage"], event["error"]) for name in failed]
                stage = "end"
            elif event["recipe"]:
                outcomes.append(Outcome(target, current, "exported", seconds=round(time.monotonic() - started, 2)))
                stage = "end"
    code = process.wait()
    if len(outcomes) < len(recipes) and code != 0:
        named = {outcome.recipe for outcome in outcomes}
        left = tuple(name for name in recipes if name not in named)
        where = current if stage != "end" and current in left else ""
        return [*outcomes, *lost(target, left, stage, where, f"the worker died with code {code}, see export.log")]
    return outcomes


def lost(target: str, recipes: tuple[str, ...], stage: str, current: str, reason: str) -> list[Outcome]:
    """A death inside one recipe costs that recipe; a death before any recipe costs all."""
    return [Outcome(target, name, "failed", stage, reason) for name in ((current,) if current else recipes)]


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it started (it leads its own process group)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def verdict(outcomes: Sequence[Outcome]) -> str:
    """The reason line of a pass. Raises StageError when something failed, UsageError when nothing is supported."""
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in STATES}
    bad = [outcome for outcome in outcomes if outcome.state in ("failed", "unavailable")]
    if bad:
        first = bad[0]
        raise StageError(
            first.stage or "export",
            f"{first.target} {first.recipe}: {first.reason} ({len(bad)} of {len(outcomes)} failed)",
        )
    if counts["exported"] + counts["up to date"] == 0:
        reasons = "; ".join(f"{outcome.target} {outcome.recipe}: {outcome.reason}" for outcome in outcomes)
        raise UsageError(f"nothing to export: {reasons or 'no recipes'}")
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def export(
    spec: ModelSpec, targets: Sequence[str], recipes: Sequence[str], out: Path, overwrite: bool
) -> list[Outcome]:
    """make_plan and run_plan without progress display, for programs and tests."""
    return run_plan(make_plan(spec, targets, recipes, out, overwrite), lambda target, text: None)
