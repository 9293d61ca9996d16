"""Choose the sealed artifacts of a package: of one recipe, or the smallest that passed parity and may ship."""

from __future__ import annotations

from pathlib import Path

from export.bundle.plan import STAGE, Plan, make_plan
from hydramobile import signatures
from hydramobile.artifact import FILE, find_artifacts, read_in_place, ships, verify
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError, unknown
from hydramobile.spec import ModelSpec
from hydramobile.targets import BUNDLED
from hydramobile.verdicts import read_verdicts, reason_unproven, rows_of


def check_platform(platform: str) -> None:
    """Raise UsageError for a mistyped platform."""
    if platform not in BUNDLED:
        raise unknown("platform", platform, BUNDLED)


def choose_plans(spec: ModelSpec, platform: str, recipe: str, out: Path, unproven: bool) -> tuple[Plan, ...]:
    """Return one plan per target of the platform that has an artifact to bundle.

    Without a recipe, each target gives the smallest of its artifacts that passed parity: of those that budget.toml
    ships, or of its candidates where none of these passed.
    `unproven` also takes artifacts that failed or were never judged. Every file is checked against its seal. Raises
    NothingJudged where no artifact is left, with the reason of each.
    """
    found: list[Plan] = []
    reasons: list[str] = []
    shipped = load_budget(spec).ship
    for target in BUNDLED[platform]:
        plans = target_plans(spec, target, recipe, out, unproven, reasons)
        plans = [plan for plan in plans if plan.artifact.recipe in shipped.get(target, ())] or plans
        if plans:
            found.append(min(plans, key=lambda plan: sum(record.bytes for record in ships(plan.artifact))))
    if not found:
        asked = f" of recipe {recipe}" if recipe else ""
        why = "; ".join(reasons) or f"{out / spec.name} holds none; export it first"
        command = f"hydra-mobile ship {platform} --model {spec.folder}{f' --recipe {recipe}' if recipe else ''}"
        raise NothingJudged(f"no artifact for {platform}{asked} to bundle: {why}. Run: {command}")
    return tuple(found)


def target_plans(
    spec: ModelSpec, target: str, recipe: str, out: Path, unproven: bool, reasons: list[str]
) -> list[Plan]:
    """Return the artifacts of one target that may be bundled. The reason of each other one is added to `reasons`."""
    root = out / spec.name
    rows = read_verdicts(root / signatures.PARITY)
    plans = []
    wanted = recipe.rpartition(":")[2]
    folders = [path for path in find_artifacts(root) if path.parent.name == target and wanted in ("", path.name)]
    for folder in folders:
        name = f"{target}/{folder.name}"
        artifact = read_in_place(folder)
        verify(folder, artifact)
        signatures.check(folder / FILE)
        check_current(spec, name, artifact.spec_sha256, artifact.weights_sha256)
        own = rows_of(rows, artifact.sha256)
        reason = reason_unproven(own)
        if reason and not unproven:
            reasons.append(f"{name}: {reason}")
        else:
            plans.append(make_plan(folder, artifact, own, reason))
    return plans


def check_current(spec: ModelSpec, name: str, spec_sha256: str, weights_sha256: str) -> None:
    """Raise StageError("bundle") for an artifact of another state of the model."""
    for what, sealed, present in (
        ("model.toml", spec_sha256, spec.sha256),
        ("weights", weights_sha256, spec.weights_sha256),
    ):
        if sealed != present:
            raise StageError(
                STAGE, f"{name} was exported from other {what} than {spec.folder} holds now; export it again"
            )
