"""Compare evaluations of several weights on the same photos: paired bootstrap, and the mean of ranks that chooses.

The first evaluation is the baseline. A difference is a mean over photos (over people, for depth) of other minus first,
with the 95 % interval of 10,000 seeded resamples of the photos (Efron and Tibshirani 1993, percentile bootstrap).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError, UsageError
from hydramobile.files import read_json

STAGE = "compare"
RESAMPLES, SEED = 10_000, 1
# Figure -> whether larger is better.
REAL = {"depth order (WHDR)": False, "matte IoU": True, "false person": False}
SYNTHETIC = {"synthetic WHDR": False, "synthetic matte IoU": True}
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of other weights less the first's: mean, 95 % interval, and the number of photos or people."""

    figure: str
    mean: float
    low: float
    high: float
    photos: int

    @property
    def certain(self) -> bool:
        """Return whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One evaluation: its figures, its differences to the first, and its mean rank, of which 1 is the best."""

    name: str
    weights: str
    figures: Mapping[str, float]
    differences: tuple[Difference, ...]
    rank: float


def compare(paths: Sequence[Path]) -> tuple[Candidate, ...]:
    """Compare evaluation.json files, the best mean rank first.

    Raises UsageError for fewer than two, StageError("compare") for evaluations of other photos.
    """
    if len(paths) < 2:
        raise UsageError("compare takes two evaluations or more: python -m reference compare FIRST.json OTHER.json")
    reports = [read_json(path, STAGE) for path in paths]
    values = [photo_values(report, path) for report, path in zip(reports, paths, strict=True)]
    for path, other in zip(paths, values, strict=True):
        for figure, first in values[0].items():
            if other[figure].keys() != first.keys():
                raise StageError(STAGE, f"{path} and {paths[0]} measured {figure} on other photos")
    figures = [summary(some, report) for some, report in zip(values, reports, strict=True)]
    ranks = mean_ranks(figures)
    found = [
        Candidate(
            str(path),
            str(report["weights"]),
            figures[index],
            tuple(difference(figure, values[0][figure], values[index][figure]) for figure in REAL) if index else (),
            ranks[index],
        )
        for index, (path, report) in enumerate(zip(paths, reports, strict=True))
    ]
    return tuple(sorted(found, key=lambda candidate: candidate.rank))


def photo_values(report: Mapping[str, Any], path: Path) -> dict[str, dict[str, float]]:
    """Return figure -> photo (person, for depth) -> value."""
    if not report.get("people"):
        raise StageError(STAGE, f"{path} has no real people: evaluate with --people")
    people, phones = report["people"], report["real"]
    poses: dict[str, list[float]] = defaultdict(list)
    for row in people["depth"].values():
        if row["sensor"] and row["whdr_2"] is not None:
            poses[row["person"]].append(row["whdr_2"])
    for name, row in phones.items():
        poses[name].append(row["whdr_2"])
    mattes = {name: float(row["iou"]) for name, row in (*people["mattes"].items(), *phones.items())}
    depth = {person: float(np.mean(several)) for person, several in poses.items()}
    return dict(
        zip(REAL, (depth, mattes, {name: float(share) for name, share in people["empty"].items()}), strict=True)
    )


def summary(values: Mapping[str, Values], report: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean of each figure, with those of the synthetic views where they were measured."""
    means = {figure: float(np.mean(list(some.values()))) for figure, some in values.items() if some}
    views = report.get("synthetic", {}).get("all", {})
    if views:
        means |= {"synthetic WHDR": float(views["whdr_2"]), "synthetic matte IoU": float(views["iou"])}
    return means


def difference(figure: str, first: Values, other: Values) -> Difference:
    """Return the paired difference of a figure with its bootstrap interval."""
    paired = np.asarray([other[name] - first[name] for name in sorted(first)], np.float64)
    if not paired.size:
        return Difference(figure, 0.0, 0.0, 0.0, 0)
    rng = np.random.default_rng(SEED)
    picks = rng.integers(0, paired.size, (RESAMPLES, paired.size))
    low, high = np.percentile(paired[picks].mean(1), (2.5, 97.5))
    return Difference(figure, float(paired.mean()), float(low), float(high), int(paired.size))


def mean_ranks(figures: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the mean rank of each candidate: half by the figures of real photos, half by those of renders."""
    halves = [
        np.mean([ranks([some[name] for some in figures], larger) for name, larger in kind.items()], axis=0)
        for kind in (REAL, SYNTHETIC)
        if all(name in some for some in figures for name in kind)
    ]
    if not halves:
        raise StageError(STAGE, "the evaluations share no figure to rank by")
    return [float(rank) for rank in np.mean(halves, axis=0)]


def ranks(values: Sequence[float], larger: bool) -> NDArray[np.float64]:
    """Return 1 for the best value and so on; equal values share the mean of their ranks."""
    signed = np.asarray(values, np.float64) * (-1 if larger else 1)
    return np.asarray([(signed < value).sum() + ((signed == value).sum() + 1) / 2 for value in signed])


def lines(candidates: Sequence[Candidate]) -> list[str]:
    """Return the comparison for a terminal and for the card: one paragraph per candidate."""
    result = []
    for place, candidate in enumerate(candidates, 1):
        figures = ", ".join(f"{name} {value:.4f}" for name, value in candidate.figures.items())
        result.append(
            f"{place}. {candidate.name} ({candidate.weights[:12]}), mean rank {candidate.rank:.2f}: {figures}"
        )
        for row in candidate.differences:
            word = "" if row.certain else ", may be chance"
            result.append(
                f"   {row.figure}: {row.mean:+.4f} against the first, 95 % interval {row.low:+.4f} to {row.high:+.4f} "
                f"({row.photos} paired{word})"
            )
    return result
