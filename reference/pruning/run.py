"""`python -m reference prune`: measure the channels' importance on training views, cut, write the smaller net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hydramobile.errors import UsageError
from reference.portrait import shaped_as
from reference.pruning.cut import Ceiling, Kept, choose, cut, importance
from reference.training.batches import Batch, Batches
from reference.training.checkpoint import load_named, named, save_weights
from reference.training.objective import compute, objective, objective_rng
from reference.training.options import Options
from reference.training.views import open_sets

SIZE = (256, 192)
OPTIONS = Options(processes=1, sizes=((*SIZE, 1.0),))


@dataclass(frozen=True, slots=True)
class Target:
    """The decoders' `width`, the most multiply-adds at 256x192 and parameters, and the batches to measure on."""

    width: int
    macs: float
    parameters: float
    batches: int = 24


def prune_file(weights: Path, data: tuple[Path, ...], out: Path, target: Target) -> Kept:
    """Prune the net in `weights` by its channels' importance on `data` and write `out`.

    Raises UsageError for a missing file, no batches, or a target that cannot be reached.
    """
    from safetensors.torch import load_file

    if not weights.is_file():
        raise UsageError(f"no weights at {weights}")
    if target.batches < 1:
        raise UsageError(f"importance is measured on at least one batch, not {target.batches}")
    tensors = load_file(weights)
    modules = shaped_as(tensors)
    load_named(modules, tensors)
    scores = importance(modules, losses(modules, data, target.batches))
    kept = choose(modules, scores, target.width, Ceiling(SIZE, target.macs, target.parameters))
    save_weights(out, remeasure_norms(cut(modules, kept), data, target.batches))
    return kept


@torch.no_grad()
def remeasure_norms(tensors: Mapping[str, Tensor], data: tuple[Path, ...], count: int) -> dict[str, Tensor]:
    """Return `tensors` with the batch norms' means and variances measured anew on `count` batches.

    The old statistics belong to the uncut net's sums. Training keeps statistics fixed, so they must be the pruned
    net's own before it begins (Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network
    Pruning").
    """
    modules = shaped_as(tensors)
    load_named(modules, tensors)
    norms = [m for module in modules.values() for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for batch in first_batches(data, count):
        compute(modules, batch.image)
    return named(modules)


def losses(modules: Mapping[str, nn.Module], data: tuple[Path, ...], count: int) -> Iterator[Tensor]:
    """Yield the training loss on `count` batches of whole-size crops, the same ones every time."""
    for number, batch in enumerate(first_batches(data, count)):
        disparity, logit = compute(modules, batch.image)
        yield objective(disparity, logit, batch, OPTIONS.weights, objective_rng(OPTIONS.seed, number, 0))[0]


def first_batches(data: tuple[Path, ...], count: int) -> Iterator[Batch]:
    """Return the first `count` batches of whole-size crops."""
    batches = Batches(OPTIONS, *open_sets(data))
    return (batches.batch(number) for number in range(count))
