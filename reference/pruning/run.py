"""`python -m reference prune`: weigh the channels on training views, cut, write what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from models.errors import UsageError
from reference.portrait import shaped_as
from reference.pruning.cut import Kept, choose, cut, importance
from reference.training.batches import Batches
from reference.training.checkpoint import load_named, save_weights
from reference.training.objective import compute, objective, objective_rng
from reference.training.options import Options
from reference.training.views import open_sets

SIZE = (256, 192)


@dataclass(frozen=True, slots=True)
class Target:
    """The decoders' `width`; at most so many multiply-adds at 256x192 and parameters; `batches` to look at."""

    width: int
    macs: float
    parameters: float
    batches: int = 24


def prune_file(weights: Path, data: tuple[Path, ...], out: Path, target: Target) -> Kept:
    """Prune the net in `weights` by what its channels do on `data`, write `out`. Raises UsageError for bad demands."""
    from safetensors.torch import load_file

    if not weights.is_file():
        raise UsageError(f"no weights at {weights}")
    if target.batches < 1:
        raise UsageError(f"channels are weighed on at least one batch, not {target.batches}")
    tensors = load_file(weights)
    modules = shaped_as(tensors)
    load_named(modules, tensors)
    scores = importance(modules, losses(modules, data, target.batches))
    kept = choose(modules, scores, SIZE, target.width, (target.macs, target.parameters))
    save_weights(out, cut(modules, kept))
    return kept


def losses(modules: Mapping[str, nn.Module], data: tuple[Path, ...], count: int) -> Iterator[Tensor]:
    """The training loss on `count` batches of whole-size crops, the same ones every time."""
    options = Options(processes=1, sizes=((*SIZE, 1.0),))
    batches = Batches(options, *open_sets(data))
    for number in range(count):
        batch = batches.batch(number)
        disparity, logit = compute(modules, batch.image)
        yield objective(disparity, logit, batch, options.weights, objective_rng(options.seed, number, 0))[0]
