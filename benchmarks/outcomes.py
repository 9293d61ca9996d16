"""Read export.json, the outcomes of all exports of a model, and find the artifacts that were exported and are gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence.envelope import typed
from hydramobile.artifact import FILE
from hydramobile.budget import Budget
from hydramobile.errors import StageError
from hydramobile.files import read_json

MADE = ("exported", "up to date")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one export, as recorded in export.json."""

    target: str
    recipe: str
    state: str
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Exports:
    """The content of export.json: outcomes by TARGET/RECIPE."""

    outcomes: Mapping[str, Outcome]


def read_outcomes(root: Path) -> dict[str, Outcome]:
    """Read `root`/export.json; empty where there is none. Raises StageError("report") for a damaged file."""
    path = root / "export.json"
    if not path.is_file():
        return {}
    try:
        return dict(typed(Exports, read_json(path, "report")).outcomes)
    except ValueError as error:
        raise StageError("report", f"{path} is not what `python -m export` writes: {error}") from error


def lost_artifacts(root: Path, budget: Budget) -> list[tuple[str, str]]:
    """Return the (target, recipe) pairs that must ship, were exported, and have no artifact.json any more."""
    try:
        outcomes = read_outcomes(root)
    except StageError:  # `export` rebuilds a damaged record; the artifacts on disk do not depend on it
        return []
    pairs = [(outcome.target, outcome.recipe) for outcome in outcomes.values() if outcome.state in MADE]
    return [
        (target, recipe)
        for target, recipe in pairs
        if recipe in budget.ship.get(target, ()) and not (root / target / recipe / FILE).is_file()
    ]
