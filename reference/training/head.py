"""Train one further head on the features of a frozen encoder. HEADS names the trainer of each head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hydramobile.errors import StageError
from hydramobile.surface import angles_between, normal_figures
from reference import losses
from reference.hydra import unit
from reference.portrait import FURTHER_HEADS, shaped_as
from reference.training import checkpoint as files
from reference.training.batches import Batch, Source, collate, sample
from reference.training.loop import Trainer
from reference.training.precision import autocast
from reference.training.views import ViewSet

# Images per forward pass of the validation.
_BATCH = 8


class HeadTrainer(Trainer):
    """Train `options.head` and nothing else: the other modules are saved with the bits that were loaded.

    A subclass defines the head's loss and its validation.
    """

    def load(self, tensors: Mapping[str, Tensor]) -> dict[str, nn.Module]:
        modules = shaped_as(tensors)
        name = self.options.head
        if name not in modules:
            torch.manual_seed(self.options.seed)
            width = int(tensors["depth.decoder.context.weight"].shape[0])
            modules[name] = FURTHER_HEADS[name](width).eval()
            tensors = {**files.named({name: modules[name]}), **tensors}
        files.load_named(modules, tensors)
        return modules

    def freeze(self) -> None:
        for name, module in self.modules.items():
            module.requires_grad_(name == self.options.head)


class NormalsTrainer(HeadTrainer):
    """Train surface normals by the mean of 1 - cosine. Raises StageError("data") for data without normals."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        if not bool(batch.surface.any()):
            raise StageError("data", "no view of a batch has surface normals: synthesize the sets with --normals")
        image = batch.image.contiguous(memory_format=torch.channels_last)
        with autocast(self.bf16):
            with torch.no_grad():
                features = self.modules["encoder"](image)
            raw: Tensor = self.modules[self.options.head].decoder(*features).float()  # type: ignore[operator]  # a head has a decoder
        there = (batch.surface.sum((1, 2)) > 0).float()
        values = losses.surface_normals(unit(raw), batch.normal, batch.surface)
        mean = values.sum() / there.sum().clamp(min=1)
        return self.options.weights.normals * mean, {"normals": float(mean.detach())}

    def validate(self) -> dict[str, float]:
        height, width, _ = self.options.sizes[0]
        return validate_normals(self.average, self.validation, self.options.validation_views, (height, width))


def validate_normals(
    modules: Mapping[str, nn.Module], sets: Sequence[ViewSet], views: int, size: tuple[int, int]
) -> dict[str, float]:
    """Return the means over views of `normal_figures` inside people, whole photos at (H, W); `score` is the mean angle.

    Raises StageError("data") where no view has normals.
    """
    source = Source(sets, 0)
    rows = []
    for start in range(0, min(views, len(source)), _BATCH):
        numbers = range(start, min(start + _BATCH, views, len(source)))
        batch = collate([sample(source.pick(n), size, None) for n in numbers])
        with torch.inference_mode():
            found = modules["normals"](*modules["encoder"](batch.image)).numpy()
        for row in range(len(found)):
            inside = batch.surface[row].numpy() > 0
            if inside.any():
                rows.append(normal_figures(angles_between(found[row], batch.normal[row].numpy())[inside]))
    if not rows:
        raise StageError("data", "no validation view has surface normals: synthesize the set with --normals")
    figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {**figures, "score": figures["angle_mean"]}


HEADS = {"normals": NormalsTrainer}
