"""What a command was asked for, which artifacts that means, and which rows of an earlier run still stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.evidence.row import Row
from hydramobile.artifact import Artifact, find_artifacts, read_artifact
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError, UsageError, describe
from hydramobile.goldens import load_goldens
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec
from hydramobile.targets import chosen

Progress = Callable[[str], None]
R = TypeVar("R", bound=Row)


def silent(text: str) -> None:
    """The progress of a command that shows none."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure.

    `only` holds (target, recipe), the recipe "" for all; empty `only` or `runtimes` mean all, and so does `most` = 0,
    the most samples to judge by. `samples` is a folder of further judging photos. `lean` leaves out what other rows
    show (benchmarks/parity/lean.py).
    """

    spec: ModelSpec
    out: Path
    samples: Path | None = None
    only: tuple[tuple[str, str], ...] = ()
    runtimes: tuple[str, ...] = ()
    bisect: bool = False
    most: int = 0
    lean: bool = False

    @property
    def root(self) -> Path:
        return self.out / self.spec.name

    @property
    def partial(self) -> bool:
        return bool(self.only or self.runtimes)


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact folder and the content of its artifact.json."""

    folder: Path
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An artifact folder whose artifact.json cannot be read, and why."""

    target: str
    recipe: str
    stage: str
    reason: str


def select(request: Request) -> tuple[list[Built], list[Unreadable]]:
    """Return the artifacts of a request, and those that cannot be read. Raises NothingJudged when there is none."""
    found: list[Built] = []
    broken: list[Unreadable] = []
    for folder in find_artifacts(request.root):
        target, name = folder.parent.name, folder.name
        if not chosen(request.only, target, name):
            continue
        try:
            found.append(Built(folder, read_artifact(folder)))
        except StageError as error:
            broken.append(Unreadable(target, name, error.stage, error.message))
    if not found and not broken:
        asked = f" for {', '.join('/'.join(filter(None, pair)) for pair in request.only)}" if request.only else ""
        raise NothingJudged(f"no artifacts in {request.root}{asked}; make them with: make export")
    return found, broken


def shipping(request: Request) -> Callable[[str, str], bool]:
    """Return a test of (target, recipe) for commands that measure what ships: everything where some were named."""
    ship = load_budget(request.spec).ship
    return lambda target, recipe: bool(request.only) or recipe in ship.get(target, ())


def check_goldens(request: Request) -> None:
    """Fail early, and once, where the reference's outputs are missing or stale."""
    load_goldens(request.spec, load_samples(request.spec, "judge")[:1], request.spec.size, request.out)


def sealed_hashes(root: Path) -> frozenset[str]:
    """Return the sha256 of every readable artifact below `root` (build/<model>)."""
    return frozenset(artifact.sha256 for artifact in map(readable, find_artifacts(root)) if artifact)


def readable(folder: Path) -> Artifact | None:
    try:
        return read_artifact(folder)
    except StageError:
        return None


def still_standing(
    rows: Iterable[R], fresh: Iterable[R], hashes: frozenset[str], key: Callable[[R], tuple[str, ...]]
) -> list[R]:
    """Return the rows of an earlier run that `fresh` does not replace and whose artifact is the same today."""
    redone = {key(row) for row in fresh}
    return [row for row in rows if key(row) not in redone and row.artifact in hashes]


def subject_of(row: Row) -> tuple[str, ...]:
    """Return what a row is about: an artifact in a runtime."""
    return row.target, row.recipe, row.runtime


def by_subject(rows: Iterable[R]) -> tuple[R, ...]:
    """Return rows sorted by target, recipe and runtime."""
    return tuple(sorted(rows, key=subject_of))


def stage_of(error: Exception, default: str) -> str:
    """Return the stage of an error, `default` where it has none."""
    return error.stage if isinstance(error, StageError) else default


def reason_of(error: Exception) -> str:
    """Return the reason of an error without its stage; the type first for an error that is not this project's."""
    if isinstance(error, StageError):
        return error.message
    return describe(error)


def check_times(seconds: float, threads: int) -> None:
    """Raise UsageError for times or thread counts that no measurement should have."""
    if not 0.05 <= seconds <= 600:
        raise UsageError(f"--seconds {seconds:g} is not within 0.05 to 600")
    if not 1 <= threads <= 256:
        raise UsageError(f"--threads {threads} is not within 1 to 256")


def names_of(artifacts: Sequence[Built]) -> list[tuple[str, str]]:
    """Return (target, recipe) of each artifact."""
    return [(built.artifact.target, built.artifact.recipe) for built in artifacts]
