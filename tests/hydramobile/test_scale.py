"""The scale that errors are judged by: a floor for outputs that hardly move, and channels of different quantities."""

from __future__ import annotations

import numpy as np
import pytest

from hydramobile.errors import StageError
from hydramobile.measures import collect, tensor_measures
from hydramobile.scale import DEPTH, LIMIT, ROUNDINGS, mixed_axis, scale_of

EPS = float(np.finfo(np.float32).eps)
RNG = np.random.default_rng(3)


def test_an_output_that_hardly_moves() -> None:
    """Scores near .12 that move by 4e-6: errors of one unit in the last place are not a thousandth of the movement."""
    samples = [np.float32(0.12) + RNG.uniform(-2e-6, 2e-6, (1, 10)).astype(np.float32) for _ in range(4)]
    scale = scale_of(samples)
    assert float(scale.spread[0]) < 5e-6
    right = np.nextafter(np.nextafter(samples[0], np.float32(1)), np.float32(1))
    assert tensor_measures(right, samples[0], float(scale.spread[0]))["err_sens"] > LIMIT, "the relative limit alone"
    assert tensor_measures(right, samples[0], scale)["err_sens"] < LIMIT
    wrong = samples[0] + np.float32(4e-6)
    assert tensor_measures(wrong, samples[0], scale)["err_sens"] > LIMIT, "an error of its whole movement is seen"


def test_the_floor() -> None:
    """An error of exactly ROUNDINGS x DEPTH units of the largest value is at the limit."""
    scale = scale_of([np.full(4, 2.0), np.full(4, 2.0) + 1e-9])
    error = ROUNDINGS * DEPTH * EPS * 2.0
    assert tensor_measures(np.full(4, 2.0) + error, np.full(4, 2.0), scale)["err_sens"] == pytest.approx(LIMIT, 1e-3)


def test_the_floor_does_not_reach_outputs_that_move() -> None:
    samples = [RNG.uniform(-1, 1, (1, 10)) for _ in range(4)]
    scale = scale_of(samples)
    assert scale.unit()[0] == scale.spread[0]


def test_a_constant_output_is_judged_by_its_error() -> None:
    scale = scale_of([np.ones(3), np.ones(3)])
    assert tensor_measures(np.full(3, 1.5), np.ones(3), scale)["err_sens"] == 0.5


def test_the_movement_of_the_reference_itself() -> None:
    """Two nearly equal scores that change places under a rounding: the same change in a file is no fault."""
    samples = [np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0])]
    scale, swapped = scale_of(samples), np.array([0.0, 2.0, 1.0])
    assert tensor_measures(swapped, samples[0], scale)["err_sens"] == 1.0
    assert tensor_measures(swapped, samples[0], scale, sway=np.array([0.0, 1.0, 1.0]))["err_sens"] < LIMIT


def boxes() -> list[np.ndarray]:
    """Rows of x, y, w, h in pixels and a score, as detectors return them."""
    return [
        np.concatenate([RNG.uniform(0, 640, (1, 40, 4)), RNG.uniform(0, 1, (1, 40, 1))], axis=2).astype(np.float32)
        for _ in range(4)
    ]


@pytest.mark.parametrize("channel_axis", [1, 2])
def test_boxes_do_not_judge_scores(channel_axis: int) -> None:
    samples = [np.moveaxis(value, 2, channel_axis) for value in boxes()]
    scale = scale_of(samples)
    assert scale.axis == channel_axis
    broken = np.moveaxis(samples[0].copy(), channel_axis, 2)
    broken[..., 4] = 1 - broken[..., 4]
    broken = np.moveaxis(broken, 2, channel_axis)
    whole = tensor_measures(broken, samples[0], float(scale.spread.max()))
    assert whole["err_sens"] < 2e-3 and whole["snr_db"] > 50, "one number for all: the scores are turned round, unseen"
    judged = tensor_measures(broken, samples[0], scale)
    assert judged["err_sens"] > 0.5 and judged["snr_db"] < 10


def test_scores_do_not_judge_boxes() -> None:
    """A quarter of a pixel, the step of float16 there, keeps 30 dB in each channel."""
    samples = boxes()
    half = samples[0].astype(np.float16).astype(np.float32)
    assert tensor_measures(half, samples[0], scale_of(samples))["snr_db"] > 60


@pytest.mark.parametrize(
    "value",
    [
        np.logspace(-8, 0, 1000)[None],  # a classifier's probabilities: one element per class is no channel
        RNG.uniform(0, 1, (1, 3, 8, 8)),  # channels of one quantity
        np.stack([np.zeros((8, 8)), np.ones((8, 8))])[None],  # a silent channel
        np.concatenate([np.full((1, 1, 48, 8), 1e-3), np.ones((1, 1, 48, 8))], axis=3),  # a picture with a dark side
        np.geomspace(1e-3, 1, 64)[None, :, None] * np.ones((1, 64, 32)),  # a sequence that grows
        np.ones(()),
        np.ones(7),
    ],
)
def test_no_channels(value: np.ndarray) -> None:
    assert mixed_axis([value, value]) is None


def test_infinities_at_equal_positions() -> None:
    reference = np.array([0.0, np.inf, -np.inf, np.nan, 2.0])
    assert tensor_measures(reference, reference)["max_abs"] == 0.0
    for index, value in ((1, -np.inf), (1, 65504.0), (0, np.inf), (3, 1.0), (4, np.nan)):
        wrong = reference.copy()
        wrong[index] = value
        with pytest.raises(StageError, match="1 of 5 values are not finite"):
            tensor_measures(wrong, reference)
    scale = scale_of([reference, reference + 1])
    assert float(scale.spread[0]) == 1.0 and float(scale.magnitude[0]) == 3.0


def test_limits_of_single_samples() -> None:
    numbers = {"a": {"snr_db": 35.0}, "b": {"snr_db": 12.0}, "c": {"snr_db": 31.0}}
    (strict,) = collect("y", numbers, {"snr_db": 30.0})
    assert (strict.worst, strict.passed) == ("b", False)
    (eased,) = collect("y", numbers, {"snr_db": 30.0}, {"b": {"snr_db": 8.0}})
    assert (eased.worst, eased.value, eased.limit, eased.passed) == ("c", 31.0, 30.0, True)
    (broken,) = collect("y", numbers, {"snr_db": 30.0}, {"b": {"snr_db": 13.0}})
    assert (broken.worst, broken.limit, broken.passed) == ("b", 13.0, False)
