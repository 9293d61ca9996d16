"""Activation ranges for static int8, from the calibration samples: what an integer must be able to hold.

One rule for every target, so that their files differ by their kernels and not by how they were calibrated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from models.errors import StageError
from models.recipes import Recipe

# Share of a tensor's values, at each end and in each sample, that may be clipped. A range set by a few outliers is
# coarse for all the others: on the portrait's 7-bit weights (ONNX, uint8 activations) the worst matte IoU is .977
# with none clipped and .985 with this.
CLIPPED = 1e-4
# Share of the largest module's weights that the net's first layers may keep in float. They see the photo at full
# resolution through few weights, and everything after them inherits their error: the portrait's stem and first block
# hold .05 % of its weights, and quantizing them takes the worst matte IoU from .993 to .981.
LEADING_SHARE = 1e-3


class Ranges:
    """The widest [low, high] over samples of each tensor's values, the rarest of them clipped."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: NDArray[Any]) -> None:
        """Widen the range of `name` by one sample's values (any shape, float, not empty)."""
        flat = value.ravel().astype(np.float32)
        if not np.isfinite(flat).all():
            raise StageError("quantize", f"tensor {name!r} is not finite on a calibration sample")
        # An order statistic, not an interpolated one: a tensor of few values keeps its extremes.
        rank = int(flat.size * CLIPPED)
        ordered = np.partition(flat, (rank, flat.size - 1 - rank))
        low, high = float(ordered[rank]), float(ordered[flat.size - 1 - rank])
        known = self.found.get(name, (low, high))
        self.found[name] = (min(known[0], low), max(known[1], high))


def require_samples(program: Program, recipe: Recipe) -> None:
    """Raises StageError("quantize") when the program was not calibrated."""
    if not program.calibration:
        raise StageError(
            "quantize",
            f"{recipe.name} needs calibration samples, and the program has none; "
            'list photos with split = "calibrate" in the model\'s samples.toml or name a folder with --calibrate',
        )


def leading_allowed(program: Program) -> int:
    """Weights that the first layers of the net may keep in float, together; a share of the largest module's."""
    return int(LEADING_SHARE * sum(size * count for size, count in program.largest_module().items()))


def raw_inputs(program: Program, names: Iterable[str]) -> list[str]:
    """Those of `names` that come from outside and not from another module."""
    edges = program.spec.edges()
    return [name for name in names if name not in edges]
