"""Trials: choices of options for all layers of a target, verified together, and the best of them for a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export.search.builds import Build
from export.search.losses import Loss

# The share of a build's limits that its smallest choice may use: other photos lose more than the samples.
MARGIN = 0.8


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of options for all layers of a target, with the losses of all layers together.

    `bytes` is the size that an app ships. `wrong` is the growth of the share of wrong answers on the model's labels
    against the float net (WHDR loss); None where it was not measured. `exported` is the size of a `chosen` trial's
    files.
    """

    target: str
    build: str
    bytes: float
    losses: Mapping[str, Loss]
    choice: Mapping[str, str]
    chosen: bool = False
    exported: int = 0
    wrong: float | None = None

    def excess(self, build: Build) -> float:
        """Return the loss as a share of its limit, of the output and statistic that is furthest: at most 1 passes."""
        return max(max(loss.mean / build.mean, loss.worst / build.worst) for loss in self.losses.values())

    def row(self) -> dict[str, Any]:
        """Return the trial as a row of search.json."""
        return {**asdict(self), "bytes": round(self.bytes), "options": dict(Counter(self.choice.values()))}


def pick(trials: Iterable[Trial], build: Build, shrinks: bool, room: float) -> Trial | None:
    """Return the best trial of one target for a build, or None where none has at most `room` bytes.

    Where the build `shrinks`, it is the smallest trial within the build's losses, less a margin. Otherwise, and where
    no trial is within them, it is the trial of least loss. A trial counts for every build, not only for the build that
    it was verified for, so that a build is never larger than a stricter one.
    """
    within = [trial for trial in trials if trial.bytes <= room]
    kept = [trial for trial in within if trial.excess(build) <= MARGIN]
    if shrinks and kept:
        return min(kept, key=lambda trial: (trial.bytes, trial.excess(build)))
    return min(within, key=lambda trial: (trial.excess(build), trial.bytes), default=None)
