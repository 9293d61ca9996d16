"""The request of a command, the artifacts that it selects, and the rows of an earlier run that are still valid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.evidence.row import Row
from benchmarks.outcomes import lost_artifacts
from benchmarks.runtime import resolve_runtimes
from hydramobile.artifact import Artifact, find_artifacts, read_in_place
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError, UsageError, describe
from hydramobile.goldens import load_goldens
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec
from hydramobile.targets import chosen

Progress = Callable[[str], None]
R = TypeVar("R", bound=Row)
AGAIN = "budget.toml says that it must ship, so export it again with: make export"


def silent(text: str) -> None:
    """Ignore a progress message."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of a measurement.

    `only` holds (target, recipe) pairs; a recipe of "" selects all recipes of the target. An empty `only` selects all
    artifacts, and an empty `runtimes` all runtimes. `most` is the greatest number of judging samples, 0 for all.
    `samples` is a folder of further judging photos. `lean` skips comparisons that other rows cover
    (benchmarks/parity/lean.py). `again` measures anew what an earlier run measured (benchmarks/kept.py).
    """

    spec: ModelSpec
    out: Path
    samples: Path | None = None
    only: tuple[tuple[str, str], ...] = ()
    runtimes: tuple[str, ...] = ()
    bisect: bool = False
    most: int = 0
    lean: bool = False
    again: bool = False

    @property
    def root(self) -> Path:
        return self.out / self.spec.name

    @property
    def partial(self) -> bool:
        return bool(self.only or self.runtimes)

    def covers(self, row: Row) -> bool:
        """Return whether the request asks for the row. A row without a runtime is of an unreadable artifact."""
        named = not self.runtimes or not row.runtime or row.runtime in resolve_runtimes(self.runtimes)
        return named and chosen(self.only, row.target, row.recipe)


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact folder and the content of its artifact.json."""

    folder: Path
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An artifact folder whose artifact.json cannot be read or is gone, and why."""

    target: str
    recipe: str
    stage: str
    reason: str


def select(request: Request) -> tuple[list[Built], list[Unreadable]]:
    """Return (readable artifacts, unreadable or lost artifacts) of a request. Raises NothingJudged without any.

    A lost artifact must ship, was exported, and is gone.
    """
    artifacts: list[Built] = []
    broken = [
        Unreadable(target, name, "artifact", f"{request.root / target / name} was exported and is gone; {AGAIN}")
        for target, name in lost_artifacts(request.root, load_budget(request.spec))
        if chosen(request.only, target, name)
    ]
    for folder in find_artifacts(request.root):
        target, name = folder.parent.name, folder.name
        if not chosen(request.only, target, name):
            continue
        try:
            artifacts.append(Built(folder, read_in_place(folder)))
        except StageError as error:
            broken.append(Unreadable(target, name, error.stage, error.message))
    if not artifacts and not broken:
        asked = f" for {', '.join('/'.join(filter(None, pair)) for pair in request.only)}" if request.only else ""
        raise NothingJudged(f"no artifacts in {request.root}{asked}; make them with: make export")
    return artifacts, broken


def shipping(request: Request) -> Callable[[str, str], bool]:
    """Return a predicate on (target, recipe) that selects the recipes that must ship.

    If `request.only` is given, the predicate selects everything, because the request names its artifacts.
    """
    ship = load_budget(request.spec).ship
    return lambda target, recipe: bool(request.only) or recipe in ship.get(target, ())


def check_goldens(request: Request) -> None:
    """Raise StageError if goldens are missing or stale, once and before any artifact is measured."""
    load_goldens(request.spec, load_samples(request.spec, "judge")[:1], request.spec.size, request.out)


def sealed_hashes(root: Path) -> frozenset[str]:
    """Return the sha256 of every readable artifact below `root` (build/<model>)."""
    return frozenset(artifact.sha256 for artifact in map(readable, find_artifacts(root)) if artifact)


def readable(folder: Path) -> Artifact | None:
    try:
        return read_in_place(folder)
    except StageError:
        return None


def still_standing(
    rows: Iterable[R], fresh: Iterable[R], hashes: frozenset[str], key: Callable[[R], tuple[str, ...]]
) -> list[R]:
    """Return the rows of an earlier run that `fresh` does not replace and whose artifact is unchanged."""
    replaced = {key(row) for row in fresh}
    return [row for row in rows if key(row) not in replaced and row.artifact in hashes]


def subject_of(row: Row) -> tuple[str, ...]:
    """Return the key of a row: target, recipe and runtime."""
    return row.target, row.recipe, row.runtime


def by_subject(rows: Iterable[R]) -> tuple[R, ...]:
    """Return rows sorted by target, recipe and runtime."""
    return tuple(sorted(rows, key=subject_of))


def stage_of(error: Exception, default: str) -> str:
    """Return the stage of an error, or `default` if it has none."""
    return error.stage if isinstance(error, StageError) else default


def reason_of(error: Exception) -> str:
    """Return the message of an error without its stage; an error of a vendor is prefixed with its type."""
    if isinstance(error, StageError):
        return error.message
    return describe(error)


def check_times(seconds: float, threads: int) -> None:
    """Raise UsageError for times outside .05 to 600 seconds, or thread counts outside 1 to 256."""
    if not 0.05 <= seconds <= 600:
        raise UsageError(f"--seconds {seconds:g} is not within 0.05 to 600")
    if not 1 <= threads <= 256:
        raise UsageError(f"--threads {threads} is not within 1 to 256")


def names_of(artifacts: Sequence[Built]) -> list[tuple[str, str]]:
    """Return (target, recipe) of each artifact."""
    return [(built.artifact.target, built.artifact.recipe) for built in artifacts]
