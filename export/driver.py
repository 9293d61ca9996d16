"""Plan an export, run one worker process per target, and report the outcome of every recipe."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.program import DRAWN_MARK
from export.seal import input_hash
from export.target import load_target
from hydramobile.artifact import FILE, artifact_folder, read_in_place, verify, write_manifest
from hydramobile.budget import load_budget
from hydramobile.errors import HydraError, StageError, UsageError
from hydramobile.files import dump_json, locked, read_json, sweep, write_text
from hydramobile.model_code import check_factory
from hydramobile.process import WorkerDied, events
from hydramobile.recipe_files import find_recipe, has_recipe
from hydramobile.recipes import Recipe
from hydramobile.samples import load_samples, record_calibration
from hydramobile.spec import ModelSpec
from hydramobile.targets import KNOWN

# Seconds without any sign of progress after which a worker counts as hung.
HANG_LIMIT = 600.0
# Two workers keep two cores busy; more would only raise the memory peak.
WORKERS = min(2, os.cpu_count() or 1)
STATES = ("exported", "up to date", "not supported", "unavailable", "failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one recipe on one target: one of `STATES`.

    `reason` explains every state but the first two; `stage` names the stage that failed.
    """

    target: str
    recipe: str
    state: str
    stage: str = ""
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The recipes to export, by target, and the outcomes that need no export.

    `photos` is a folder that calibrates beside the model's own samples.
    """

    spec: ModelSpec
    out: Path
    jobs: dict[str, tuple[str, ...]]
    resolved: tuple[Outcome, ...]
    photos: Path | None = None


# Called with the target and its current stage.
Progress = Callable[[str, str], None]


def plan_export(
    spec: ModelSpec,
    targets: Sequence[str],
    recipes: Sequence[str],
    out: Path,
    overwrite: bool,
    photos: Path | None = None,
) -> ExportPlan:
    """Decide which recipes to export. Empty `recipes` stand for the recipes of the model's budget.

    Raises UsageError before anything runs when an artifact with other inputs stands in the way and `overwrite` is not
    set.
    """
    if not (spec.folder / spec.weights_path).is_file():
        raise UsageError(f"there is no file {spec.folder / spec.weights_path}, which model.toml names as its weights")
    check_factory(spec)
    budget = load_budget(spec)
    jobs: dict[str, tuple[str, ...]] = {}
    resolved: list[Outcome] = []
    blocked: list[str] = []
    for name in targets:
        target = load_target(name)
        missing = target.unavailable()
        for chosen in recipes or budget.recipes(name):
            if not has_recipe(spec, name, chosen):
                resolved.append(Outcome(name, chosen, "not supported", reason=f"{chosen!r} is not defined for {name}"))
                continue
            wanted = find_recipe(spec, name, chosen)
            reason = target.refuses(wanted)
            if reason:
                resolved.append(Outcome(name, chosen, "not supported", reason=reason))
            elif missing:
                resolved.append(Outcome(name, chosen, "unavailable", reason=missing))
            elif is_current(spec, name, wanted, out, photos):
                resolved.append(Outcome(name, chosen, "up to date"))
            else:
                folder = artifact_folder(out, spec.name, name, wanted.name)
                if folder.exists():
                    refuse_foreign(folder)
                    if not overwrite:
                        blocked.append(str(folder))
                jobs[name] = (*jobs.get(name, ()), chosen)
    if blocked:
        raise UsageError(f"{', '.join(blocked)} holds another artifact; --overwrite replaces it")
    return ExportPlan(spec, out, jobs, tuple(resolved), photos)


def refuse_foreign(folder: Path) -> None:
    """Raise UsageError for a folder that was never an artifact: --overwrite deletes nothing else."""
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / FILE).exists()):
        raise UsageError(f"{folder} is no artifact (it holds no {FILE}) and is not deleted; move it away")


def is_current(spec: ModelSpec, target: str, chosen: Recipe, out: Path, photos: Path | None) -> bool:
    """Return whether the recipe's folder holds an intact artifact made from the same inputs."""
    folder = artifact_folder(out, spec.name, target, chosen.name)
    if not folder.exists():
        return False
    try:
        artifact = read_in_place(folder)
        verify(folder, artifact)
    except StageError:
        return False
    if chosen.calibrated:
        hashes = sorted(sample.sha256 for sample in load_samples(spec, "calibrate", photos))
        # The exporter's own drawn inputs follow from its sources, which input_hash covers.
        used = sorted(digest for digest in artifact.calibration if not digest.startswith(DRAWN_MARK))
        if used != hashes[: chosen.samples or None]:
            return False
    return artifact.input_hash == input_hash(spec, load_target(target), chosen, artifact.calibration)


def run_plan(plan: ExportPlan, progress: Progress, limit: float = HANG_LIMIT) -> list[Outcome]:
    """Run every job, rebuild manifest.json, and record all outcomes in export.json.

    Temporary folders of killed exports are removed first.
    """
    for name in KNOWN:
        sweep(plan.out / plan.spec.name / name)
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(run_target, plan, name, recipes, progress, limit) for name, recipes in plan.jobs.items()]
        outcomes = [*plan.resolved, *(outcome for job in running for outcome in job.result())]
    root = plan.out / plan.spec.name
    for outcome in (outcome for outcome in outcomes if outcome.state == "exported"):
        if find_recipe(plan.spec, outcome.target, outcome.recipe).calibrated:
            used = load_samples(plan.spec, "calibrate", plan.photos)
            record_calibration(root, f"{outcome.target}/{outcome.recipe.rpartition(':')[2]}", used)
    write_manifest(root)
    record_outcomes(root, outcomes)
    return outcomes


def record_outcomes(root: Path, outcomes: Sequence[Outcome]) -> None:
    """Merge outcomes into `root`/export.json, so that the report can show what failed and why."""
    with locked(root / ".export.lock"):
        path = root / "export.json"
        try:
            known: dict[str, Any] = dict(read_json(path, "export")["outcomes"]) if path.is_file() else {}
        except (StageError, KeyError, TypeError, ValueError):
            known = {}  # a damaged record is rebuilt; artifacts do not depend on it
        known |= {f"{outcome.target}/{outcome.recipe}": asdict(outcome) for outcome in outcomes}
        write_text(path, dump_json({"schema": 1, "outcomes": dict(sorted(known.items()))}))


def run_target(
    plan: ExportPlan, target: str, recipes: tuple[str, ...], progress: Progress, limit: float
) -> list[Outcome]:
    """Export all recipes of one target. When a recipe kills the worker, a new worker exports the remaining ones."""
    outcomes: list[Outcome] = []
    waiting = list(recipes)
    while waiting:
        finished = run_worker(plan, target, tuple(waiting), progress, limit)
        outcomes += finished
        names = {outcome.recipe for outcome in finished}
        waiting = [name for name in waiting if name not in names]
    return outcomes


def run_worker(
    plan: ExportPlan, target: str, recipes: tuple[str, ...], progress: Progress, limit: float
) -> list[Outcome]:
    """Run one worker process.

    Return an outcome for every recipe that it finished, and for the recipe in which it died: at least one outcome.
    """
    job = {
        "model": str(plan.spec.folder),
        "target": target,
        "recipes": recipes,
        "out": str(plan.out),
        "calibrate": str(plan.photos) if plan.photos else None,
    }
    log = plan.out / plan.spec.name / target / "export.log"
    outcomes: list[Outcome] = []
    # The worker names a recipe without the file that it was asked for in.
    asked = {name.rpartition(":")[2]: name for name in recipes}
    stage, current, started = "start", "", time.monotonic()
    try:
        for event in events("export.worker", job, log, limit):
            if event["event"] == "start":
                stage, started = event["stage"], time.monotonic()
                current = asked.get(event["recipe"], "")
                if event["recipe"] and not current:
                    raise WorkerDied(
                        f"the worker reported {event['recipe']!r}, which was not asked of it; its log: {log}"
                    )
                progress(target, f"{stage} {current}".strip())
            elif event["event"] == "failed":
                failed = (current,) if current else recipes
                outcomes += [Outcome(target, name, "failed", event["stage"], event["error"]) for name in failed]
            elif event["event"] == "done" and event["stage"] == "emit":
                outcomes.append(confirmed(plan, target, current, time.monotonic() - started))
        if len({outcome.recipe for outcome in outcomes}) < len(recipes):
            raise WorkerDied(f"the worker ended before it reported all of its recipes; its log: {log}")
    except HydraError as error:
        # A death inside one recipe costs that recipe; a death before any recipe costs all.
        named = {outcome.recipe for outcome in outcomes}
        dead = (current,) if current and current not in named else tuple(r for r in recipes if r not in named)
        outcomes += [Outcome(target, name, "failed", stage, str(error)) for name in dead]
    return outcomes


def confirmed(plan: ExportPlan, target: str, recipe: str, seconds: float) -> Outcome:
    """Return the outcome of a recipe that a worker reported as exported: the artifact on disk decides.

    A model's code runs in the worker, and could write the report itself.
    """
    wanted = find_recipe(plan.spec, target, recipe)
    if is_current(plan.spec, target, wanted, plan.out, plan.photos):
        return Outcome(target, recipe, "exported", seconds=round(seconds, 2))
    folder = artifact_folder(plan.out, plan.spec.name, target, wanted.name)
    reason = f"the worker reported it, but {folder} holds no intact artifact of these inputs"
    return Outcome(target, recipe, "failed", "seal", reason)


def verdict(outcomes: Sequence[Outcome]) -> str:
    """Return the reason line of a pass.

    Raises StageError when an export failed or a target is unavailable, UsageError when no recipe is supported.
    """
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
    """Plan and run an export without progress display, for programs and tests."""
    return run_plan(plan_export(spec, targets, recipes, out, overwrite), lambda target, text: None)
