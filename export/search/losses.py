"""Measure the loss of a net with changed weights: the task's own losses against the float32 reference, per sample."""

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
# The metric that a search limits, by judge: a share of pixels, pairs or answers that changed.
LOSS = {
    "relative-depth": "order_flips",
    "alpha-matte": "iou",
    "surface-normals": "turned_5",
    "class-scores": "top1",
}
PERSON = 0.9


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of one output against the reference over the samples, as shares; 0 is no loss.

    `sample` is the name of the worst sample.
    """

    mean: float
    worst: float
    sample: str


@dataclass(slots=True)
class Bench:
    """The net, the samples to measure it by, and the reference's tensors, by sample and name.

    `set_weights` changes the modules of `program` in place, so that only one caller at a time can use a bench.
    """

    program: Program
    samples: Sequence[Sample]
    truth: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec = self.program.spec
        for sample in self.samples:
            inputs = sample_inputs(spec, sample, self.program.size)
            self.truth.append(run_modules(spec, self.program.modules, inputs))

    def set_weights(self, values: Mapping[str, Array], layers: Mapping[str, Layer]) -> None:
        """Set the weights of layers, by name."""
        import torch

        for name, value in values.items():
            parameter = getattr(layers[name].owner, layers[name].key)
            parameter.data.copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def outputs(self, index: int, changed: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return every tensor of one sample, where the weights of the modules `changed` are not the reference's.

        Modules that depend on none of them are not run again.
        """
        import torch

        known, stale = dict(self.truth[index]), set[str]()
        for module in self.program.spec.modules.values():
            if module.name not in changed and stale.isdisjoint(module.inputs):
                continue
            with torch.no_grad():
                outputs = as_tuple(self.program.modules[module.name](*(known[name] for name in module.inputs)))
            known.update(zip(module.outputs, outputs, strict=True))
            stale.update(module.outputs)
        return known

    def noise(self, changed: Sequence[str], picked: Sequence[int]) -> dict[str, float]:
        """Return the power of each final output's error over the power of its variation, over the picked samples."""
        sums = {name: [0.0, 0.0] for name in self.program.final()}
        for index in picked:
            outputs = self.outputs(index, changed)
            for name, powers in sums.items():
                truth = self.truth[index][name].double()
                powers[0] += float(((outputs[name].double() - truth) ** 2).sum())
                powers[1] += float(((truth - truth.mean()) ** 2).sum())
        return {name: error / max(power, 1e-30) for name, (error, power) in sums.items()}

    def losses(self, changed: Sequence[str]) -> dict[str, Loss]:
        """Return the loss of every final output over all samples; of outputs without a judge, noise over signal."""
        spec, losses = self.program.spec, dict[str, dict[str, float]]()
        matte = next((tensor.name for tensor in spec.judged() if tensor.judge == "alpha-matte"), None)
        for index, sample in enumerate(self.samples):
            outputs, truth = self.outputs(index, changed), self.truth[index]
            person = truth[matte].numpy() > PERSON if matte else None
            for name in self.program.final():
                judge = spec.tensors[name].judge if name in spec.tensors else None
                loss = sample_loss(judge, outputs[name].numpy(), truth[name].numpy(), person)
                losses.setdefault(name, {})[sample.name] = loss
        return {name: over_samples(values) for name, values in losses.items()}


def sample_loss(judge: str | None, output: Array, truth: Array, person: NDArray[np.bool_] | None) -> float:
    """Return the loss of one output on one sample; 1 where the output is not finite."""
    if not np.isfinite(output).all():
        return 1.0
    if judge is None:
        signal, error = float((truth.astype(float) ** 2).sum()), float(((output.astype(float) - truth) ** 2).sum())
        return float(10 ** (-snr(signal, error) / 10))
    metric = LOSS[judge]
    value = float(JUDGES[judge](output, truth, person)[metric])
    return 1 - value if metric in HIGHER else value


def over_samples(values: Mapping[str, float]) -> Loss:
    """Return the mean and the worst of the losses by sample. Raises StageError("search") without samples."""
    if not values:
        raise StageError("search", "no samples to measure by")
    worst = max(values, key=lambda name: values[name])
    return Loss(float(np.mean(list(values.values()))), values[worst], worst)
