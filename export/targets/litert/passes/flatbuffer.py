"""Rewrites of a file's operators around slow kernels, one file each: the same numbers from other operators.

They are applied to what a recipe made, so that no recipe needs to know of them.
"""

from __future__ import annotations

from typing import Any

from export.targets.litert.passes import widen_channel_constants, widen_last_conv

APPLIED = (widen_last_conv.spread, widen_channel_constants.widen)


def quicker(model: Any) -> Any:
    """The model with every rewrite applied, in place."""
    for rewrite in APPLIED:
        rewrite(model)
    return model
