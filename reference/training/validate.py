"""Quick figures of weights on a fixed set of views, by which checkpoints are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from hydramobile.measures import PERSON, WHDR_GAP, matte_truth, order_errors
from reference.training.batches import Source, collate, sample
from reference.training.objective import compute
from reference.training.views import ViewSet

# Images per forward pass: a batch that fits a CPU's caches.
_BATCH = 8


def validate(
    modules: Mapping[str, nn.Module], sets: Sequence[ViewSet], views: int, size: tuple[int, int]
) -> dict[str, float]:
    """Return means over the first `views` of `sets`, whole photos at (H, W): iou, mae, boundary_f, whdr (2 %), score.

    `score` is whdr + (1 - iou), less is better. Views without a person count for the matte only.
    """
    source = Source(sets, 0)
    count = min(views, len(source))
    mattes, orders = [], []
    for start in range(0, count, _BATCH):
        batch = collate([sample(source.pick(n), size, None) for n in range(start, min(start + _BATCH, count))])
        with torch.inference_mode():
            disparity, logit = compute(modules, batch.image)
        alpha = torch.sigmoid(logit)[:, 0].numpy()
        for row in range(len(alpha)):
            truth = batch.alpha[row].numpy()
            mattes.append(matte_truth(alpha[row], truth))
            person = (batch.person[row].numpy() > 0) & (truth > PERSON)
            if person.sum() >= 50:
                predicted = disparity[row, 0].numpy().astype(np.float64)
                truth_inside = batch.disparity[row].numpy().astype(np.float64)[person]
                orders.append(order_errors(predicted[person], truth_inside, WHDR_GAP))
    figures = {name: float(np.mean([m[name] for m in mattes])) for name in ("iou", "mae", "boundary_f")}
    figures["whdr"] = float(np.mean(orders)) if orders else 0.0
    figures["score"] = figures["whdr"] + 1 - figures["iou"]
    return figures
