"""The training objective: losses of reference/losses.py over one batch, weighted by the options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from reference import losses
from reference.training.batches import Batch
from reference.training.options import Weights

# Truth of the background above this is clamped: how much nearer it is does not matter.
_NEAREST = 1.3
# Limit of a background of unknown depth, and range of a person of unknown depth, in units of the person's median.
_BEHIND = 0.7
_PERSON = (0.55, 2.0)
_OFFSETS = 4
# The shortest distance between the two pixels of a long-range pair, as a share of the photo's height: head and chest.
_FAR = 0.25
_SALT = 14


def objective(
    disparity: Tensor,
    logit: Tensor,
    batch: Batch,
    weights: Weights,
    rng: np.random.Generator,
    taught: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch (a scalar) and the unweighted mean of each term by its name in `Weights`.

    `disparity` and `logit` are the decoders' raw maps, [B, 1, H, W]. `taught`, of the same shape, is a teacher's
    disparity of the clean images.
    """
    d, a = disparity[:, 0], logit[:, 0]
    t = batch.disparity.clamp(0, 3)
    metric = (batch.known > 0).float()
    photos = 1 - metric
    faces = losses.relief(d, batch.points)
    terms = {
        **depth_terms(d, t, batch, weights, rng),
        **taught_terms(d, batch, weights, rng),
        "background_hinge": losses.background_hinge(d, batch.behind, _BEHIND) * metric,
        "relief": faces * metric,
        "photo_relief": faces * photos,
        "photo_order": photos
        * (
            losses.background_hinge(d, (batch.alpha < 0.1).float(), _BEHIND)
            + losses.person_hinge(d, (batch.alpha > 0.9).float(), *_PERSON)
        ),
        "matte_entropy": losses.matte_entropy(a, batch.alpha),
        "matte_l1": losses.matte_l1(a, batch.alpha),
        "matte_edge": losses.matte_edge(a, batch.alpha),
        "matte_overlap": losses.matte_overlap(a, batch.alpha),
    }
    if taught is not None:
        person = (batch.alpha > 0.9).float()
        terms["photo_consistency"] = photos * losses.scale_shift_l1(d, taught[:, 0], person)
    # Depth terms are means over the views that have them, so that photos in a batch do not weaken them.
    share = {
        name: photos.sum() if name.startswith("photo_") else metric.sum()
        for name in terms
        if not name.startswith("matte_")
    }
    total = d.new_zeros(())
    shown: dict[str, float] = {}
    for name, values in terms.items():
        mean = values.sum() / share[name].clamp(min=1) if name in share else values.mean()
        shown[name] = float(mean.detach())
        total = total + getattr(weights, name) * mean
    return total, shown


def depth_terms(d: Tensor, t: Tensor, batch: Batch, weights: Weights, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the terms that compare with exact depth, one value per photo each; terms of weight 0 are left out."""
    height, width = d.shape[1:]
    offsets = [
        (int(rng.integers(0, int(height * 0.45))), int(rng.integers(-int(width * 0.45), int(width * 0.45))))
        for _ in range(_OFFSETS)
    ]
    exact = (batch.person + batch.background).clamp(max=1) * (batch.background.amax((1, 2), keepdim=True))
    terms: dict[str, Callable[[], Tensor]] = {
        "person_l1": lambda: losses.person_l1(d, t, batch.person),
        "berhu": lambda: losses.berhu(d, t, batch.person),
        "scale_invariant_log": lambda: losses.scale_invariant_log(d, t, batch.person),
        "scale_shift_l1": lambda: losses.scale_shift_l1(d, t, batch.person),
        "gradient": lambda: losses.gradient(d, t, batch.person),
        "order": lambda: losses.order(d, t, batch.person, offsets),
        "background_l1": lambda: losses.person_l1(d, t.clamp(max=_NEAREST), batch.background),
        "scene_gradient": lambda: losses.gradient(d, t, exact, (2, 8)),
    }
    return {name: term() for name, term in terms.items() if getattr(weights, name) > 0}


def taught_terms(d: Tensor, batch: Batch, weights: Weights, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the terms of photos whose depth an ensemble labelled; terms of weight 0 are left out.

    The labels are right in their order more than in their values, so they are compared up to scale and shift, and by
    pairs far apart, which hold the slope of a whole person.
    """
    photos = 1 - (batch.known > 0).float()
    terms: dict[str, Callable[[], Tensor]] = {
        "photo_depth": lambda: losses.scale_shift_l1(d, batch.taught, batch.sure) * photos,
        "photo_pairs": lambda: losses.order(d, batch.taught, batch.sure, far_offsets(d, rng)) * photos,
        "far_pairs": lambda: losses.order(d, batch.disparity, batch.person, far_offsets(d, rng)) * (1 - photos),
    }
    return {name: term() for name, term in terms.items() if getattr(weights, name) > 0}


def far_offsets(d: Tensor, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw (dy, dx) of pairs that are at least a quarter of the photo's height apart, downwards or sideways."""
    height, width = d.shape[1:]
    least = round(height * _FAR)
    found = []
    for index in range(_OFFSETS):
        if index % 2:
            found.append((int(rng.integers(least, int(height * 0.6))), int(rng.integers(-(width // 4), width // 4))))
        else:
            side = int(rng.integers(min(least, width // 3), int(width * 0.6)))
            found.append((int(rng.integers(0, height // 8 + 1)), side if rng.random() < 0.5 else -side))
    return found


def objective_rng(seed: int, step: int, rank: int) -> np.random.Generator:
    return np.random.default_rng([seed, _SALT, step, rank])


def decode(modules: Mapping[str, nn.Module], features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the decoders' raw maps (disparity, logit), each [B, 1, H, W], for the encoder's features."""
    disparity: Tensor = modules["depth"].decoder(*features)  # type: ignore[operator]  # a Decoder, not a Tensor
    logit: Tensor = modules["segmentation"].decoder(*features)  # type: ignore[operator]  # the same
    return disparity, logit


def compute(modules: Mapping[str, nn.Module], image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the decoders' raw maps (disparity, logit) for images [B, 3, H, W]."""
    return decode(modules, modules["encoder"](image))
