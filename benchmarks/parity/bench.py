"""The data that artifacts are judged by: the model's spec, budget, goldens and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.parity.labels import Labelled, load_labelled
from benchmarks.runtime import Array
from hydramobile.budget import FALLBACK, Budget, load_budget, neighbour
from hydramobile.goldens import Golden, load_drawn, load_goldens
from hydramobile.measures import MEAN, PERSON
from hydramobile.samples import load_samples
from hydramobile.scale import Scale, scale_of
from hydramobile.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Bench:
    """The data that an artifact is judged by.

    `most` is the greatest number of goldens to run, 0 for all. `against` is the bench of the model that some
    artifacts replace. With `lean`, a module whose inputs are features is judged in the chain alone. `drawn` holds the
    goldens of the drawn inputs (hydramobile/drawn.py), and `scales` caches the scale of each output.
    """

    spec: ModelSpec
    budget: Budget
    goldens: Sequence[Golden]
    most: int = 0
    labelled: Labelled | None = None
    against: Bench | None = None
    lean: bool = False
    drawn: Sequence[Golden] = ()
    scales: dict[tuple[str, str], Scale] = field(default_factory=dict, compare=False)

    @property
    def judged(self) -> list[Golden]:
        """The goldens to run: all, or `most` of them, evenly spread.

        How far a tensor moves between samples is always computed over all goldens.
        """
        return spread(self.goldens, self.most)

    @property
    def drawn_judged(self) -> list[Golden]:
        """The goldens of the drawn inputs to run, as `judged`, without those on which the reference itself fails."""
        return spread([golden for golden in self.drawn if not golden.refused], self.most)

    def scale(self, output: str, module: str = "") -> Scale:
        """Return the scale of an output over all samples and drawn inputs; of `module` alone where it is given.

        Only final outputs are judged by channel: features are of one kind.
        """
        key = (output, module)
        if key not in self.scales:
            every = [*self.goldens, *(golden for golden in self.drawn if not golden.refused)]
            values = [golden.boundary[module][output] if module else golden.tensors[output] for golden in every]
            self.scales[key] = scale_of(values, by_channel=output not in self.spec.edges())
        return self.scales[key]

    def person(self, golden: Golden) -> Array | None:
        """Return the mask of the person, in which depth is judged: the reference's alpha > .9; None without a matte."""
        matte = next((tensor.name for tensor in self.spec.judged() if tensor.judge == "alpha-matte"), None)
        return golden.tensors[matte] > PERSON if matte else None

    def limits(self, target: str, recipe: str, output: str) -> dict[str, float]:
        """Return the limits of an output by metric.

        Limits of a mean hold over all samples only, so they are left out when fewer samples are run.
        """
        feature = output in self.spec.edges()
        limits = self.budget.limits_for(target, recipe, output, feature)
        if len(self.judged) < len(self.goldens):
            limits = {metric: limit for metric, limit in limits.items() if not metric.startswith(MEAN)}
        return limits or dict(FALLBACK)


def spread(goldens: Sequence[Golden], most: int) -> list[Golden]:
    """Return all goldens, or `most` of them, evenly spread."""
    if not 0 < most < len(goldens):
        return list(goldens)
    return [goldens[index * len(goldens) // most] for index in range(most)]


def load_bench(
    spec: ModelSpec, out: Path, folder: Path | None, most: int = 0, artifacts: Iterable[tuple[str, str]] = ()
) -> Bench:
    """Load the bench of `artifacts`, (target, recipe), on the model's samples and the photos of `folder`.

    Also loads the bench of the model that one of `artifacts` replaces. Raises StageError for bad samples or labels,
    and for missing or stale goldens of either model.
    """
    samples = load_samples(spec, "judge", folder)
    goldens, labelled = load_goldens(spec, samples, spec.size, out), load_labelled(spec, out, most)
    bench = Bench(spec, load_budget(spec), goldens, most, labelled, drawn=load_drawn(spec, spec.size, out))
    held = any(bench.budget.stands_in(target, recipe) for target, recipe in artifacts)
    other = neighbour(spec, bench.budget.against) if held else None
    return replace(bench, against=load_bench(other, out, folder, most)) if other else bench
