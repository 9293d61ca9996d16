"""Observers: the range of a float tensor over the calibration samples, [low, high], for integer activations.

One set of observers serves every target, so that the targets' files differ by their kernels and not by their
calibration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Range = tuple[float, float]

# Share of a tensor's elements that may be clipped at each end, in each sample. A range set by a few outliers is coarse
# for all other elements: on the portrait with 7-bit weights (ONNX, uint8 activations) the worst matte IoU is .977 with
# no element clipped and .985 with this share.
CLIPPED = 1e-4
# Bins of a histogram. Its limits are a power of two and double when an element lies beyond them.
BINS = 4096
# Shares of the observed range that the searching observers try.
CLIPS = np.linspace(0.25, 1.0, 76)
# Steps of 8-bit integers.
LEVELS = 256
# A tensor stays float where this share of a sample's elements that are not zero would round to zero in 8 bits: a few
# large channels or the scores of a mask leave no steps for all others.
LOST = 0.9
# Elements of this magnitude are a mask's scores (-1e4, finfo.min) or sums that a mask was added to.
MASKED = 1e4


class MinMaxObserver:
    """Observe the extremes of one tensor."""

    # Share of the elements of each sample that is clipped at each end.
    clipped = 0.0

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def observe(self, elements: Array) -> None:
        """Widen the range by the elements of one sample: 1-D, float32, finite, not empty."""
        # Order statistics, not interpolated ones: a tensor of few elements keeps its extremes.
        rank = int(elements.size * self.clipped)
        ordered = np.partition(elements, (rank, elements.size - 1 - rank))
        self.low = min(self.low, float(ordered[rank]))
        self.high = max(self.high, float(ordered[elements.size - 1 - rank]))

    def range(self) -> Range:
        """Return the range over all samples observed."""
        return self.low, self.high


class PercentileObserver(MinMaxObserver):
    """Observe the widest range over samples, the rarest elements of each sample clipped."""

    clipped = CLIPPED


class Histogram:
    """Count elements in BINS equal bins over [-limit, limit].

    Zeros are not counted: they are exact in every grid, and the many zeros of a ReLU would outweigh all other elements.
    """

    def __init__(self) -> None:
        self.limit = 0.0
        self.counts = np.zeros(BINS)

    def add(self, elements: Array) -> None:
        elements = elements[elements != 0]
        if not elements.size:
            return
        needed = float(2.0 ** np.ceil(np.log2(np.abs(elements).max())))
        self.limit = self.limit or needed
        while self.limit < needed:
            # Merge pairs of bins, symmetrically about zero, so that counts do not depend on the order of the samples.
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS)
            self.counts[BINS // 4 : BINS // 4 * 3] = merged
            self.limit *= 2
        self.counts += np.histogram(elements, BINS, (-self.limit, self.limit))[0]

    def centers(self) -> Array:
        """Return the centre of each bin."""
        width = 2 * self.limit / BINS
        return (np.arange(BINS) + 0.5) * width - self.limit


class SearchingObserver(MinMaxObserver):
    """Observe a histogram, and search the clipped range of least loss; both ends are clipped by the same share."""

    def __init__(self) -> None:
        super().__init__()
        self.histogram = Histogram()

    def observe(self, elements: Array) -> None:
        super().observe(elements)
        self.histogram.add(elements)

    def range(self) -> Range:
        if not (self.low < self.high and self.histogram.limit):
            return self.low, self.high
        centers = self.histogram.centers()
        losses = [self.loss(centers, self.histogram.counts, self.low * clip, self.high * clip) for clip in CLIPS]
        clip = float(CLIPS[int(np.argmin(losses))])
        return self.low * clip, self.high * clip

    @staticmethod
    def loss(centers: Array, counts: Array, low: float, high: float) -> float:
        """Return the loss of the range [low, high] on a histogram."""
        raise NotImplementedError


class MSEObserver(SearchingObserver):
    """Search the range at which the squared error of clipping and of rounding to 8 bits is least."""

    @staticmethod
    def loss(centers: Array, counts: Array, low: float, high: float) -> float:
        clipped = np.clip(centers, low, high)
        step = (high - low) / (LEVELS - 1)
        inside = counts[(centers >= low) & (centers <= high)].sum()
        return float(np.sum(counts * (clipped - centers) ** 2) + inside * step**2 / 12)


class EntropyObserver(SearchingObserver):
    """Search the range at which rounding changes the distribution least (Migacz 2017, "8-bit Inference with TensorRT").

    The loss is the Kullback-Leibler divergence of the clipped distribution from the same one in LEVELS levels; it is
    infinite for a range of fewer bins than levels.
    """

    @staticmethod
    def loss(centers: Array, counts: Array, low: float, high: float) -> float:
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
        # Clipped elements fall into the last bins: where the last bins were empty, no level represents them.
        coarse = np.where((truth > 0) & (coarse == 0), 1e-9 * counts.sum(), coarse)
        p, q = truth / truth.sum(), coarse / coarse.sum()
        held = p > 0
        return float(np.sum(p[held] * np.log(p[held] / q[held])))


# By the word of a recipe's name (hydramobile/recipes.py, METHODS).
OBSERVERS: dict[str, type[MinMaxObserver]] = {
    "percentile": PercentileObserver,
    "minmax": MinMaxObserver,
    "mse": MSEObserver,
    "entropy": EntropyObserver,
}


class RangeObserver:
    """Observe the float tensors of a graph by name, with one observer per tensor."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.observers: dict[str, MinMaxObserver] = {}
        # Tensors that 8-bit integers cannot hold.
        self.without: set[str] = set()

    def observe(self, name: str, value: Array) -> None:
        """Add one sample's value of the tensor `name`: any shape, float, not empty."""
        elements = value.ravel().astype(np.float32)
        if not holdable(elements):
            self.without.add(name)
        else:
            self.observers.setdefault(name, OBSERVERS[self.method]()).observe(elements)

    def ranges(self) -> dict[str, Range]:
        """Return the range of every tensor observed that integers can hold on every sample."""
        return {name: observer.range() for name, observer in self.observers.items() if name not in self.without}


def holdable(elements: Array) -> bool:
    """Return whether 256 steps over the range of one sample hold its elements: finite, and few of them lost."""
    if not np.isfinite(elements).all():
        return False
    magnitudes = np.abs(elements)
    if magnitudes.max() >= MASKED:
        return False
    present = magnitudes[magnitudes > 0]
    step = (max(float(elements.max()), 0.0) - min(float(elements.min()), 0.0)) / (LEVELS - 1)
    return not present.size or float(np.mean(present < step / 2)) <= LOST
