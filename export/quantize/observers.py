"""Activation ranges for static int8, from the calibration samples: what an integer must be able to hold.

One rule for every target, so that their files differ by their kernels and not by how they were calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text
from hydramobile.recipes import METHODS, Recipe

# Share of a tensor's values, at each end and in each sample, that may be clipped. A range set by a few outliers is
# coarse for all the others: on the portrait's 7-bit weights (ONNX, uint8 activations) the worst matte IoU is .977
# with none clipped and .985 with this.
CLIPPED = 1e-4
# Share of the largest module's weights that the net's first layers may keep in float. They see the photo at full
# resolution through few weights, and everything after them inherits their error: the portrait's stem and first block
# hold .05 % of its weights, and quantizing them takes the worst matte IoU from .993 to .981.
LEADING_SHARE = 1e-3


# Bins of a tensor's histogram, over a range that is a power of two and doubles when a value lies beyond it.
BINS = 4096
# How far ranges that are searched may be clipped, and in how many steps.
CLIPS = np.linspace(0.25, 1.0, 76)
LEVELS = 256


class Ranges:
    """[low, high] of each tensor over samples, by a method of calibration:

    minmax      the extremes
    percentile  the widest over samples of each sample's extremes, the rarest values clipped
    mse         that at which the squared error of rounding to 8 bits and of clipping is least
    entropy     that at which rounding changes the distribution least (Kullback-Leibler; Migacz 2017, "8-bit Inference
                with TensorRT")
    """

    def __init__(self, method: str = METHODS[0]) -> None:
        self.method = method
        self.found: dict[str, tuple[float, float]] = {}
        self.histograms: dict[str, Histogram] = {}

    def add(self, name: str, value: NDArray[Any]) -> None:
        """Widen the range of `name` by one sample's values (any shape, float, not empty)."""
        flat = value.ravel().astype(np.float32)
        if not np.isfinite(flat).all():
            raise StageError("quantize", f"tensor {name!r} is not finite on a calibration sample")
        # An order statistic, not an interpolated one: a tensor of few values keeps its extremes.
        rank = int(flat.size * CLIPPED) if self.method == "percentile" else 0
        ordered = np.partition(flat, (rank, flat.size - 1 - rank))
        low, high = float(ordered[rank]), float(ordered[flat.size - 1 - rank])
        known = self.found.get(name, (low, high))
        self.found[name] = (min(known[0], low), max(known[1], high))
        if self.method in SEARCHES:
            self.histograms.setdefault(name, Histogram()).add(flat)

    def settle(self) -> None:
        """To be called after the last sample: finds the ranges that are searched for."""
        for name, histogram in self.histograms.items():
            low, high = self.found[name]
            if low < high:
                self.found[name] = searched(histogram, (low, high), SEARCHES[self.method])
        self.histograms.clear()


class Histogram:
    """Counts of values in BINS equal bins over [-limit, limit], without zeros: these are exact in every grid, and the
    many that a ReLU makes would drown all others."""

    def __init__(self) -> None:
        self.limit = 0.0
        self.counts = np.zeros(BINS)

    def add(self, values: NDArray[Any]) -> None:
        values = values[values != 0]
        if not values.size:
            return
        wanted = float(2.0 ** np.ceil(np.log2(np.abs(values).max())))
        self.limit = self.limit or wanted
        while self.limit < wanted:
            # Two bins become one, about zero, so that counts do not depend on the order of the samples.
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS)
            self.counts[BINS // 4 : BINS // 4 * 3] = merged
            self.limit *= 2
        self.counts += np.histogram(values, BINS, (-self.limit, self.limit))[0]


Loss = Callable[[NDArray[Any], NDArray[Any], float, float], float]


def searched(histogram: Histogram, range_: tuple[float, float], loss: Loss) -> tuple[float, float]:
    """The range of least loss among the clipped ones: both ends come in by the same share."""
    if not histogram.limit:
        return range_
    width = 2 * histogram.limit / BINS
    centers = (np.arange(BINS) + 0.5) * width - histogram.limit
    losses = [loss(centers, histogram.counts, range_[0] * clip, range_[1] * clip) for clip in CLIPS]
    clip = float(CLIPS[int(np.argmin(losses))])
    return range_[0] * clip, range_[1] * clip


def squared_error(centers: NDArray[Any], counts: NDArray[Any], low: float, high: float) -> float:
    clipped = np.clip(centers, low, high)
    step = (high - low) / (LEVELS - 1)
    inside = counts[(centers >= low) & (centers <= high)].sum()
    return float(np.sum(counts * (clipped - centers) ** 2) + inside * step**2 / 12)


def divergence(centers: NDArray[Any], counts: NDArray[Any], low: float, high: float) -> float:
    """KL(clipped distribution, the same in LEVELS levels); infinite for a range of fewer bins than levels."""
    inside = np.flatnonzero((centers >= low) & (centers <= high))
    if inside.size < LEVELS or not counts.any():
        return float("inf") if inside.size else 0.0
    kept = counts[inside]
    truth = kept.copy()
    truth[0] += counts[: inside[0]].sum()
    truth[-1] += counts[inside[-1] + 1 :].sum()
    level = np.arange(inside.size) * LEVELS // inside.size
    filled = np.bincount(level, kept > 0, LEVELS)
    share = np.bincount(level, kept, LEVELS) / np.maximum(filled, 1)
    coarse = np.where(kept > 0, share[level], 0.0)
    # What is clipped falls into the last bins: where these were empty, no level stands for it.
    coarse = np.where((truth > 0) & (coarse == 0), 1e-9 * counts.sum(), coarse)
    p, q = truth / truth.sum(), coarse / coarse.sum()
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))


SEARCHES: dict[str, Loss] = {"mse": squared_error, "entropy": divergence}


def cached(program: Program, recipe: Recipe, about: str, measure: Callable[[Ranges], None]) -> Ranges:
    """The ranges that `measure` fills in, by the recipe's method: from the program's cache where the same weights,
    samples, method and code measured them before. `about` tells the graphs of one program apart."""
    ranges = Ranges(recipe.method)
    key = [about, recipe.method, recipe.equalized and recipe.weight_bits, sorted(program.calibration_hashes)]
    path = program.cache.folder / f"{sha256_bytes(canonical_json([program.cache.stamp, *key]).encode())}.json"
    if program.cache.stamp and path.is_file():
        ranges.found = {name: (float(low), float(high)) for name, (low, high) in read_json(path, "quantize").items()}
        return ranges
    measure(ranges)
    ranges.settle()
    if program.cache.stamp:
        write_text(path, dump_json(dict(sorted(ranges.found.items()))))
    return ranges


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
