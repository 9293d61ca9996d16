"""Loads what artifacts are judged by: a model's own, and of the model that some of them stand in for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.parity.artifact import Bench
from benchmarks.parity.labels import load_labelled
from hydramobile.budget import load_budget, neighbour
from hydramobile.goldens import load_goldens
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec


def load_bench(
    spec: ModelSpec, out: Path, folder: Path | None, most: int = 0, artifacts: Iterable[tuple[str, str]] = ()
) -> Bench:
    """What `artifacts`, (target, recipe), are judged by, on the model's samples and the photos of `folder`.

    Raises StageError for bad samples and labels, and for missing or stale goldens, those of the model that one of
    `artifacts` stands in for included.
    """
    samples = load_samples(spec, "judge", folder)
    goldens, labelled = load_goldens(spec, samples, spec.size, out), load_labelled(spec, out, most)
    bench = Bench(spec, load_budget(spec), goldens, most, labelled)
    held = any(bench.budget.stands_in(target, recipe) for target, recipe in artifacts)
    other = neighbour(spec, bench.budget.against) if held else None
    return replace(bench, against=load_bench(other, out, folder, most)) if other else bench
