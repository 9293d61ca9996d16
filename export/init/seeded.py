"""Prepare a net with drawn weights, so that all of its layers move its outputs.

Libraries initialize the last norm of a block, or a layer scale, to zero, and leave the statistics of batch norms at 0
and 1. A file of such a net would be judged by a few of its layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from export.init.net import Origin
from export.init.observe import example_of, match_inputs
from export.init.request import AskedInput

# Calls that set the statistics of batch norms, and the batch of each.
CALLS, BATCH = 4, 4
LEAST = 0.01


def enliven(origin: Origin, asked: Sequence[AskedInput]) -> None:
    """Replace parameters that are zero, and set the statistics of batch norms by drawn inputs."""
    import torch
    from torch import nn

    ((name, net),) = origin.modules.items()
    replaced = 0
    for key, value in net.named_parameters():
        scale = "gamma" in key and float(value.abs().max()) < LEAST
        if scale or (key.endswith("weight") and not bool(value.any())):
            # Equal weights of a matrix would return 0 after a norm, whose outputs sum to zero.
            nn.init.constant_(value, 0.4) if value.ndim < 2 else nn.init.normal_(value, std=0.05)
            replaced += 1
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
    given = match_inputs(origin, asked)[name]
    if norms and all(seen.shape[:1] == (1,) and "int" not in seen.dtype for seen in given):
        for layer in norms:
            layer.momentum = None  # the average of all calls
            layer.train()
        try:
            with torch.no_grad():
                for call in range(CALLS):
                    draws = [[example_of(seen, 1 + call * BATCH + index) for index in range(BATCH)] for seen in given]
                    net(*(torch.cat(values) for values in draws))
        except (RuntimeError, ValueError):
            pass  # a net of one batch size keeps its statistics; the judging run reports its own errors
        finally:
            net.eval()
        origin.notes.append("statistics of batch norms: of drawn inputs")
    if replaced:
        origin.notes.append(f"{replaced} parameters that the library sets to zero have other values")
