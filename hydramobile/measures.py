"""Compute every number that a report shows.

Tensor measures compare two arrays element by element. Judges measure an output in units of its task: `relative-depth`,
`alpha-matte`, `surface-normals`, `class-scores`. Both compare a candidate with the output of the reference network.
Measures of truth (`depth_truth`, `matte_truth`, ...) compare the network itself with ground truth, and labels
(hydramobile/labels.py) measure how much worse than the reference a candidate is against ground truth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.errors import StageError
from hydramobile.scale import QUIET, Scale, without_infinities
from hydramobile.surface import judge_normals

Array = NDArray[Any]
Floats = NDArray[np.float64]
Numbers = dict[str, float]

PAIRS = 20_000
PAIR_SEED = 20260101
PERSON = 0.9
# WHDR counts pairs whose truth differs by more than this share of the person's p2-p98.
WHDR_GAP = 0.02
# The signal-to-noise ratio of equal arrays is infinite, which JSON cannot hold; 200 dB is beyond double precision.
SNR_CEILING = 200.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One reported metric of an output.

    `value` is the worst over the samples (the smallest for metrics in `HIGHER`), `worst` the name of that sample, and
    `mean` the mean over all samples. `limit` is None for a metric without a limit.
    """

    output: str
    metric: str
    value: float
    mean: float
    limit: float | None
    worst: str

    @property
    def passed(self) -> bool:
        return self.limit is None or within(self.metric, self.value, self.limit)


# The metrics of `tensor_measures`, and the metrics that each judge adds.
TENSOR_METRICS = ("max_abs", "mean_abs", "p99_abs", "snr_db", "cosine", "err_sens")
JUDGE_METRICS: Mapping[str, tuple[str, ...]] = {
    "relative-depth": ("order_flips", "abs_rel", "delta_1.25", "delta_1.05"),
    "alpha-matte": ("iou", "mae"),
    "surface-normals": ("angle_mean", "angle_p95", "turned_5"),
    "class-scores": ("top1",),
}
# The metrics that labels add (hydramobile/labels.py), by the judge of the output that they belong to.
LABEL_METRICS: Mapping[str, tuple[str, ...]] = {"relative-depth": ("whdr_loss",)}
# Metrics of which larger is better. All others are losses.
HIGHER = frozenset(
    {"snr_db", "cosine", "iou", "top1", "spearman", "r2", "boundary_f", "relief"}
    | {"delta_1.05", "delta_1.25", "delta_1.25^2", "delta_1.25^3"}
    | {"within_11.25", "within_22.5", "within_30"}
)


# Prefix of a metric's name that means its mean over the samples, instead of the worst sample.
MEAN = "mean "


def higher(metric: str) -> bool:
    """Return whether larger values of a metric are better."""
    return metric.removeprefix(MEAN) in HIGHER


def within(metric: str, value: float, limit: float) -> bool:
    """Return whether `value` keeps `limit`."""
    return value >= limit if higher(metric) else value <= limit


def worse(metric: str, a: float, b: float) -> bool:
    """Return whether `a` is worse than `b`."""
    return a < b if higher(metric) else a > b


def tensor_measures(
    candidate: Array, reference: Array, sensitivity: float | Scale | None = None, sway: Array | None = None
) -> Numbers:
    """Return max_abs, mean_abs, p99_abs, snr_db and cosine of two arrays, and err_sens where `sensitivity` is given.

    `sensitivity` is the variation of the reference output between real inputs, max |y(x1) - y(x2)|. An error of 1e-3 of
    it is invisible; an error of 0.3 of it is another network, whatever its cosine similarity. A `Scale` judges err_sens
    and snr_db by channel where channels hold different quantities, and gives err_sens its floor; `sway` is the movement
    of the reference itself on this input (hydramobile/scale.py).

    Elements that are infinite or NaN in both arrays alike are left out. Raises StageError("judge") for different
    shapes, empty arrays, and for any other NaN or infinity.
    """
    a, b = candidate.astype(np.float64), reference.astype(np.float64)
    if a.shape != b.shape:
        raise StageError("judge", f"shapes differ: {list(a.shape)} against {list(b.shape)}")
    if a.size == 0:
        raise StageError("judge", "a comparison of nothing")
    a, b = without_infinities(a, b)
    error = np.abs(a - b)
    noise, signal = float((error**2).sum()), float((b**2).sum())
    norm = math.sqrt(float((a**2).sum()) * signal)
    scale = sensitivity if isinstance(sensitivity, Scale) else None
    numbers = {
        "max_abs": float(error.max()),
        "mean_abs": float(error.mean()),
        "p99_abs": float(np.quantile(error, 0.99)),
        "snr_db": channel_snr(b, error, scale) if scale else snr(signal, noise),
        "cosine": float((a * b).sum()) / norm if norm else float(noise == 0.0),
    }
    if scale:
        numbers["err_sens"] = float((scale.channels(error).max(axis=1) / scale.unit(sway)).max())
    elif isinstance(sensitivity, float | int):
        # The sensitivity of a constant output is 0; then the error itself is judged.
        numbers["err_sens"] = float(error.max()) / (sensitivity or 1.0)
    return numbers


def channel_snr(reference: Floats, error: Floats, scale: Scale) -> float:
    """Return the signal-to-noise ratio of the worst channel of a scale, in dB.

    A channel that is quieter than QUIET of the loudest counts as if it had this share.
    """
    signals, noises = (scale.channels(value**2).sum(axis=1) for value in (reference, error))
    signals = np.maximum(signals, QUIET**2 * signals.max())
    return min(snr(float(signal), float(noise)) for signal, noise in zip(signals, noises, strict=True))


def snr(signal: float, noise: float) -> float:
    """Return the signal-to-noise ratio of two energies, in dB, at most SNR_CEILING."""
    if noise == 0.0:
        return SNR_CEILING
    return min(SNR_CEILING, 10 * math.log10(max(signal, 1e-300) / noise))


def sensitivity(outputs: list[Array]) -> float:
    """Return max |y(x1) - y(x2)| over neighbouring samples, 0 for a single sample."""
    pairs = itertools.pairwise(outputs)
    return max((spread_of(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs), default=0.0)


def spread_of(a: Floats, b: Floats) -> float:
    """Return the largest difference of two arrays where both are finite."""
    finite = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(np.where(finite, a, 0.0) - np.where(finite, b, 0.0)).max())


def align(candidate: Floats, target: Floats) -> Floats:
    """Fit `candidate` to `target`, both 1-D, by the scale and shift of least squares."""
    design = np.stack([candidate, np.ones_like(candidate)], axis=1)
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    return np.asarray(design @ solution)


def seeded_pairs(count: int, pairs: int = PAIRS, seed: int = PAIR_SEED) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of random pairs of `count` elements, the same for the same seed."""
    first, second = np.random.default_rng(seed).integers(0, count, (2, pairs))
    return first, second


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of pixels whose order is known: indices into a flat field, and the difference of the truths, never 0."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    difference: Floats


def far_pairs(truth: Floats, gap: float) -> Pairs:
    """Return the seeded pairs of a 1-D truth that differ by more than `gap` of its range from p2 to p98.

    A constant truth has no such pairs.
    """
    first, second = seeded_pairs(truth.size)
    difference = truth[first] - truth[second]
    spread = float(np.quantile(truth, 0.98) - np.quantile(truth, 0.02))
    far = np.abs(difference) > gap * spread if spread > 0.0 else np.zeros(first.size, dtype=bool)
    return Pairs(first[far], second[far], difference[far])


def wrong_share(candidate: Floats, pairs: Pairs) -> float:
    """Return the share of `pairs` that a 1-D candidate orders otherwise than the truth. A tie is wrong.

    0 where there are no pairs.
    """
    wrong = (candidate[pairs.first] - candidate[pairs.second]) * pairs.difference <= 0
    return float(wrong.mean()) if wrong.size else 0.0


def order_errors(candidate: Floats, truth: Floats, gap: float) -> float:
    """Return the share of `far_pairs` that the candidate orders otherwise than the truth.

    A tie in the candidate is wrong. 0 where no pair is far enough apart, as in a constant truth.
    """
    return wrong_share(candidate, far_pairs(truth, gap))


def judge_depth(candidate: Array, reference: Array, person: NDArray[np.bool_] | None) -> Numbers:
    """Compare relative depth inside the person with the output of the reference.

    Returns order_flips (`order_errors` at a gap of 5 %) and, after alignment by scale and shift, abs_rel, delta_1.25
    and delta_1.05 (Eigen et al. 2014). `person` is the reference's mask alpha > 0.9. Where it is empty or None, all
    pixels count.
    """
    chosen = person if person is not None and person.any() else np.ones(reference.shape, dtype=bool)
    a, b = candidate.astype(np.float64)[chosen], reference.astype(np.float64)[chosen]
    aligned, floor = align(a, b), 1e-3
    ratio = np.maximum(
        np.maximum(aligned, floor) / np.maximum(b, floor), np.maximum(b, floor) / np.maximum(aligned, floor)
    )
    return {
        "order_flips": order_errors(a, b, 0.05),
        "abs_rel": float((np.abs(aligned - b) / np.maximum(b, floor)).mean()),
        "delta_1.25": float((ratio < 1.25).mean()),
        "delta_1.05": float((ratio < 1.05).mean()),
    }


def judge_matte(candidate: Array, reference: Array, person: NDArray[np.bool_] | None) -> Numbers:
    """Return the IoU of the masks alpha > 0.5, which is 1 when both are empty, and the mean absolute error."""
    a, b = candidate > 0.5, reference > 0.5
    union = int((a | b).sum())
    return {
        "iou": float((a & b).sum()) / union if union else 1.0,
        "mae": float(np.abs(candidate.astype(np.float64) - reference.astype(np.float64)).mean()),
    }


def judge_scores(candidate: Array, reference: Array, person: NDArray[np.bool_] | None) -> Numbers:
    """Return top1, the share of rows whose best class is the same. Classes are on the last axis."""
    same = candidate.argmax(axis=-1) == reference.argmax(axis=-1)
    return {"top1": float(np.mean(same))}


JUDGES: Mapping[str, Callable[[Array, Array, NDArray[np.bool_] | None], Numbers]] = {
    "relative-depth": judge_depth,
    "alpha-matte": judge_matte,
    "surface-normals": judge_normals,
    "class-scores": judge_scores,
}


def depth_truth(candidate: Array, truth: Array, person: NDArray[np.bool_]) -> Numbers:
    """Compare the disparity of a network with the truth, both [H, W], inside `person`. Larger is nearer.

    Returns whdr_2, whdr_5 and whdr_10, which are `order_errors` at gaps of 2, 5 and 10 % of the person's range p2 to
    p98. After the truth's median is scaled to 1 and the disparity is aligned by scale and shift (least squares), it
    returns abs_rel, rmse, rmse_log, si_log (Eigen et al. 2014: the variance of the log error), delta_1.05, delta_1.25
    to the powers 1, 2 and 3, and r2. Logarithms and ratios take values below 1e-3 as 1e-3. Raises StageError("judge")
    for an empty person or a truth whose median is not positive.
    """
    if not person.any():
        raise StageError("judge", "no person in the truth: a comparison of nothing")
    a, b = candidate.astype(np.float64)[person], truth.astype(np.float64)[person]
    median = float(np.median(b))
    if median <= 0:
        raise StageError("judge", f"the person's median disparity is {median}, which is no distance")
    b = b / median
    aligned, floor = align(a, b), 1e-3
    predicted, true = np.maximum(aligned, floor), np.maximum(b, floor)
    log, ratio = np.log(predicted / true), np.maximum(predicted / true, true / predicted)
    squares = float(((b - b.mean()) ** 2).sum())
    return {
        **{f"whdr_{round(100 * gap)}": order_errors(a, b, gap) for gap in (WHDR_GAP, 0.05, 0.10)},
        "abs_rel": float((np.abs(aligned - b) / true).mean()),
        "rmse": float(np.sqrt(((aligned - b) ** 2).mean())),
        "rmse_log": float(np.sqrt((log**2).mean())),
        "si_log": float((log**2).mean() - log.mean() ** 2),
        "delta_1.05": float((ratio < 1.05).mean()),
        **{
            f"delta_1.25{'' if power == 1 else f'^{power}'}": float((ratio < 1.25**power).mean()) for power in (1, 2, 3)
        },
        # A constant truth has no variance to explain.
        "r2": 1 - float(((aligned - b) ** 2).sum()) / squares if squares > 0 else 1.0,
    }


def ramp(truth: Array, person: NDArray[np.bool_]) -> Floats:
    """Return the vertical ramp [H, W] that fits the truth inside `person` best, a guess that ignores the picture."""
    rows = np.repeat(np.arange(truth.shape[0], dtype=np.float64)[:, None], truth.shape[1], axis=1)
    inside = rows[person]
    slope, level = np.linalg.lstsq(
        np.stack([inside, np.ones_like(inside)], axis=1), truth.astype(np.float64)[person], rcond=None
    )[0]
    return np.asarray(slope * rows + level)


def background_errors(candidate: Array, truth: Array, alpha: Array) -> float:
    """Return the share of seeded pairs of a pixel of the person and one of the background that are in the wrong order.

    All arrays are [H, W]. The person is alpha > 0.9, the background alpha < 0.1. A pair counts where its truths differ
    by more than 2 % of the photo's range p2 to p98. A tie is wrong. 0 where there are no such pairs.
    """
    person, background = np.flatnonzero(alpha > PERSON), np.flatnonzero(alpha < 1 - PERSON)
    if not person.size or not background.size:
        return 0.0
    first, _ = seeded_pairs(person.size)
    second, _ = seeded_pairs(background.size, seed=PAIR_SEED + 1)
    a, b = candidate.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    difference = b[person[first]] - b[background[second]]
    far = np.abs(difference) > 0.02 * float(np.quantile(b, 0.98) - np.quantile(b, 0.02))
    wrong = (a[person[first]] - a[background[second]]) * difference <= 0
    return float(wrong[far].mean()) if far.any() else 0.0


def point_order(candidate: Floats, truth: Floats, gap: float = 0.1) -> tuple[int, int]:
    """Return (right, all) counts of pairs of a face's points, 1-D, whose truths differ by more than `gap` of its range.

    A tie is wrong.
    """
    first, second = np.triu_indices(truth.size, 1)
    difference = truth[first] - truth[second]
    far = np.abs(difference) > gap * float(np.ptp(truth)) if truth.size else np.zeros(0, dtype=bool)
    right = (candidate[first] - candidate[second]) * difference > 0
    return int(right[far].sum()), int(far.sum())


def matte_truth(candidate: Array, truth: Array) -> Numbers:
    """Compare alpha [H, W] with the truth: iou and mae as in `judge_matte`, and boundary_f at 2 pixels."""
    return {**judge_matte(candidate, truth, None), "boundary_f": boundary_f(candidate > 0.5, truth > 0.5, 2)}


def boundary_f(candidate: NDArray[np.bool_], truth: NDArray[np.bool_], reach: int) -> float:
    """Return the F measure of the outlines of two masks [H, W]. Pixels match within `reach` pixels (Euclidean).

    The outline is the pixels of the mask that have a 4-neighbour outside it. The border of the photo is not an outline.
    1 when neither mask has an outline, 0 when only one has.
    """
    edges = outline(candidate), outline(truth)
    if not edges[0].any() or not edges[1].any():
        return float(edges[0].any() == edges[1].any())
    precision = float(dilate(edges[1], reach)[edges[0]].mean())
    recall = float(dilate(edges[0], reach)[edges[1]].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of `mask` whose left, right, upper or lower neighbour is outside it."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def dilate(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Return the pixels within `reach` pixels (Euclidean) of `mask`."""
    height, width = mask.shape
    padded = np.pad(mask, reach)
    result = np.zeros_like(mask)
    for dy, dx in itertools.product(range(-reach, reach + 1), repeat=2):
        if dy * dy + dx * dx <= reach * reach:
            result |= padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return result


def collect(
    output: str,
    per_sample: Mapping[str, Numbers],
    limits: Mapping[str, float],
    eased: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Measure]:
    """Reduce the numbers of all samples to Measures: the worst value with its sample's name, and the mean.

    A limit on a mean adds a Measure of its own. `eased` holds looser limits of single samples, by sample and metric;
    then the worst sample is the one nearest to its own limit, and the Measure has its value and limit. Raises
    StageError("judge") when there are no samples, and for a limit of a metric that was not measured.
    """
    if not per_sample:
        raise StageError("judge", f"no samples were compared for {output!r}")
    metrics = list(next(iter(per_sample.values())))
    for metric in limits:
        if metric.removeprefix(MEAN) not in metrics:
            raise StageError("judge", f"the budget limits {metric!r} of {output!r}; measured: {', '.join(metrics)}")
    folded = []
    for metric in metrics:
        own = {sample: (eased or {}).get(sample, {}).get(metric, limits.get(metric)) for sample in per_sample}
        margins = {sample: numbers[metric] - (own[sample] or 0.0) for sample, numbers in per_sample.items()}
        worst = next(iter(per_sample))
        for sample, margin in margins.items():
            if worse(metric, margin, margins[worst]):
                worst = sample
        mean = float(np.mean([numbers[metric] for numbers in per_sample.values()]))
        limit = own[worst] if metric in limits else None
        folded.append(Measure(output, metric, per_sample[worst][metric], mean, limit, worst))
        if MEAN + metric in limits:
            folded.append(Measure(output, MEAN + metric, mean, mean, limits[MEAN + metric], worst))
    return folded
