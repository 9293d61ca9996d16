"""Define the builds that a search looks for: a name, limits of the losses and, by target, a limit of the size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from export.target import load_storage
from hydramobile.budget import Budget, load_budget
from hydramobile.errors import UsageError
from hydramobile.labels import METRIC, load_labels
from hydramobile.measures import MEAN
from hydramobile.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Build:
    """The limits of one build.

    `mean` and `worst`: the most that any judged output may lose on average and on its worst sample (shares).
    `sizes`: the bytes that one app may ship, by target. Without a size, a build is the smallest within its losses. With
    a size, it loses as little as fits into the size; a `small` build is still the smallest within its losses, and the
    size is a ceiling.
    `wrong`: by target, how much the share of wrong answers on the model's labels may grow. A build that breaks it is
    reported, not solved anew.
    """

    name: str
    mean: float
    worst: float
    sizes: Mapping[str, float] = field(default_factory=dict)
    small: bool = False
    wrong: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the build as a row of search.json."""
        return {**asdict(self), "sizes": dict(self.sizes), "wrong": dict(self.wrong)}

    def shrinks(self, target: str) -> bool:
        """Return whether the build is the smallest within its losses, and not the best within its size."""
        return self.small or target not in self.sizes


# Losses that an app notices: shares of the mask's pixels, of pairs in order, of answers.
STANDARD = (
    Build("quality", 0.002, 0.006),
    Build("balanced", 0.005, 0.015, small=True),
    Build("compact", 0.015, 0.03, small=True),
)


def standard_builds(budget: Budget) -> tuple[Build, ...]:
    """Return the three builds, with the sizes that the model's budget.toml sets for them.

    Where `quality` has no size of its own, it may be as large as the largest of the others: an app that can afford a
    build of that size should ship `quality`.
    """
    # Sizes before gzip: a file is never smaller before gzip than after it.
    known = {
        build.name: {row.target: float(row.bytes) for row in budget.sizes if row.recipe == build.name}
        for build in STANDARD
    }
    largest: dict[str, float] = {}
    for sizes in known.values():
        for target, size in sizes.items():
            largest[target] = max(size, largest.get(target, 0.0))
    return tuple(
        replace(build, sizes=known[build.name] if build.small else largest | known[build.name]) for build in STANDARD
    )


def requested_builds(
    spec: ModelSpec, targets: Sequence[str], megabytes: float | None, max_loss: str | None
) -> tuple[Build, ...]:
    """Return one build `searched` with the user's size or loss where either is given, and the three builds otherwise.

    Raises UsageError for a size or a loss out of range, or a target that stores all layers alike.
    """
    for target in targets:
        load_storage(target)
    if megabytes is None and max_loss is None:
        return with_label_limits(spec, standard_builds(load_budget(spec)), targets)
    if megabytes is not None and not megabytes > 0:
        raise UsageError(f"--budget-mb is {megabytes:g}; a size is above 0")
    share = 1.0 if max_loss is None else read_share(max_loss)
    sizes = {} if megabytes is None else dict.fromkeys(targets, megabytes * 1e6)
    return (Build("searched", share, min(3 * share, 1.0), sizes),)


def with_label_limits(spec: ModelSpec, builds: Sequence[Build], targets: Sequence[str]) -> tuple[Build, ...]:
    """Return the builds with the budget's limits of their loss on the model's labels, where it has labels."""
    labels, budget = load_labels(spec), load_budget(spec)
    if labels is None:
        return tuple(builds)
    limits = {
        (build.name, target): budget.label_limits(target, build.name, labels.tensor).get(MEAN + METRIC)
        for build in builds
        for target in targets
    }
    return tuple(
        replace(build, wrong={t: limit for t in targets if (limit := limits[build.name, t]) is not None})
        for build in builds
    )


def read_share(text: str) -> float:
    """Parse "1%", "0.01" or "0.5 %" as a share above 0 and at most 1. Raises UsageError for other texts."""
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = 0.0
    if rest or not 0 < share <= 1:
        raise UsageError(f'--max-loss is {text!r}; write a share such as "1%" or 0.01')
    return share
