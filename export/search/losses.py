"""What a net loses when its weights change: the task's own losses against the float32 reference, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program, run_modules
from export.quantize.layers import Layer
from hydramobile.errors import StageError
from hydramobile.loader import as_tuple
from hydramobile.measures import HIGHER, JUDGES, snr
from hydramobile.samples import Sample, sample_inputs

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
# Of each judge, what is lost: a share of pixels, pairs or answers that became others.
LOSS = {"relative-depth": "order_flips", "alpha-matte": "iou", "class-scores": "top1"}
PERSON = 0.9


@dataclass(frozen=True, slots=True)
class Loss:
    """Of one output over the samples, against the reference's own: shares, 0 is no loss. `sample` is the worst one."""

    mean: float
    worst: float
    sample: str


@dataclass(slots=True)
class Bench:
    """The net, the samples to measure by, and what the reference makes of them, by sample and tensor.

    The modules of `program` are changed by `put` and put back by `reset`; one at a time uses a Bench.
    """

    program: Program
    samples: Sequence[Sample]
    truth: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = self.program.spec
        for sample in self.samples:
            inputs = sample_inputs(spec, sample, self.program.size)
            self.truth.append(run_modules(spec, self.program.modules, inputs))

    def put(self, values: Mapping[str, Array], layers: Mapping[str, Layer]) -> None:
        import torch

        for name, value in values.items():
            parameter = getattr(layers[name].owner, layers[name].key)
            parameter.data.copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def outputs(self, index: int, changed: Sequence[str]) -> dict[str, torch.Tensor]:
        """Every tensor of one sample, where the weights of modules `changed` are not the reference's: those before
        them are not run again."""
        import torch

        known, stale = dict(self.truth[index]), set[str]()
        for module in self.program.spec.modules.values():
            if module.name not in changed and stale.isdisjoint(module.inputs):
                continue
            with torch.no_grad():
                made = as_tuple(self.program.modules[module.name](*(known[name] for name in module.inputs)))
            known.update(zip(module.outputs, made, strict=True))
            stale.update(module.outputs)
        return known

    def noise(self, changed: Sequence[str], picked: Sequence[int]) -> dict[str, float]:
        """Of each final output: power of its error over power of what moves in it, over the picked samples."""
        found = {name: [0.0, 0.0] for name in self.program.final()}
        for index in picked:
            made = self.outputs(index, changed)
            for name, sums in found.items():
                wanted = self.truth[index][name].double()
                sums[0] += float(((made[name].double() - wanted) ** 2).sum())
                sums[1] += float(((wanted - wanted.mean()) ** 2).sum())
        return {name: error / max(power, 1e-30) for name, (error, power) in found.items()}

    def losses(self, changed: Sequence[str]) -> dict[str, Loss]:
        """The loss of every judged output over all samples; of outputs that nobody judges, noise over signal."""
        spec, found = self.program.spec, dict[str, dict[str, float]]()
        matte = next((tensor.name for tensor in spec.judged() if tensor.judge == "alpha-matte"), None)
        for index, sample in enumerate(self.samples):
            made, truth = self.outputs(index, changed), self.truth[index]
            person = truth[matte].numpy() > PERSON if matte else None
            for name in self.program.final():
                judge = spec.tensors[name].judge if name in spec.tensors else None
                lost = lost_by(judge, made[name].numpy(), truth[name].numpy(), person)
                found.setdefault(name, {})[sample.name] = lost
        return {name: folded(values) for name, values in found.items()}


def lost_by(judge: str | None, made: Array, truth: Array, person: NDArray[np.bool_] | None) -> float:
    if not np.isfinite(made).all():
        return 1.0
    if judge is None:
        signal, error = float((truth.astype(float) ** 2).sum()), float(((made.astype(float) - truth) ** 2).sum())
        return float(10 ** (-snr(signal, error) / 10))
    metric = LOSS[judge]
    value = float(JUDGES[judge](made, truth, person)[metric])
    return 1 - value if metric in HIGHER else value


def folded(values: Mapping[str, float]) -> Loss:
    if not values:
        raise StageError("search", "no samples to measure by")
    worst = max(values, key=lambda name: values[name])
    return Loss(float(np.mean(list(values.values()))), values[worst], worst)
