"""Every reported number against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hydramobile.errors import StageError
from hydramobile.measures import (
    JUDGE_METRICS,
    JUDGES,
    SNR_CEILING,
    TENSOR_METRICS,
    collect,
    judge_depth,
    judge_matte,
    judge_scores,
    order_errors,
    sensitivity,
    tensor_measures,
)
from hydramobile.spec import JUDGES as SPEC_JUDGES
from hydramobile.surface import judge_normals, normal_figures


def test_tensor_measures_by_hand() -> None:
    numbers = tensor_measures(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 3.5]), sensitivity=2.0)

    assert numbers["max_abs"] == 0.5
    assert numbers["mean_abs"] == 0.125
    assert numbers["p99_abs"] == pytest.approx(0.485)  # linear between the third (0) and the fourth (.5) at 2.97
    assert numbers["snr_db"] == pytest.approx(10 * math.log10((1 + 4 + 9 + 12.25) / 0.25))
    assert numbers["cosine"] == pytest.approx((1 + 4 + 9 + 14) / math.sqrt(30 * 26.25))
    assert numbers["err_sens"] == 0.25


def test_equal_arrays() -> None:
    numbers = tensor_measures(np.ones(3), np.ones(3))
    assert numbers["snr_db"] == SNR_CEILING
    assert numbers["cosine"] == pytest.approx(1.0)
    assert numbers["max_abs"] == 0.0


def test_zero_reference() -> None:
    assert tensor_measures(np.zeros(2), np.zeros(2))["cosine"] == 1.0
    wrong = tensor_measures(np.ones(2), np.zeros(2))
    assert wrong["cosine"] == 0.0
    assert wrong["snr_db"] < -1000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    with pytest.raises(StageError, match="1 of 2 values are not finite"):
        tensor_measures(np.array([1.0, value]), np.zeros(2))


def test_nothing() -> None:
    with pytest.raises(StageError, match="a comparison of nothing"):
        tensor_measures(np.zeros((0, 3)), np.zeros((0, 3)))


def test_shapes_never_broadcast() -> None:
    with pytest.raises(StageError, match=r"\[1, 3\] against \[3, 1\]"):
        tensor_measures(np.zeros((1, 3)), np.zeros((3, 1)))


def test_sensitivity() -> None:
    assert sensitivity([np.array([0.0, 1.0]), np.array([0.5, 1.0]), np.array([0.5, -2.0])]) == 3.0
    assert sensitivity([np.array([1.0])]) == 0.0
    # A constant output: the error stands for itself.
    assert tensor_measures(np.array([1.5]), np.array([1.0]), 0.0)["err_sens"] == 0.5


def test_order_errors_by_hand() -> None:
    truth = np.array([0.0, 1.0])
    assert order_errors(np.array([0.0, 1.0]), truth, 0.05) == 0.0
    assert order_errors(np.array([1.0, 0.0]), truth, 0.05) == 1.0
    assert order_errors(np.array([0.5, 0.5]), truth, 0.05) == 1.0, "a tie counts as wrong"
    assert order_errors(np.array([0.0, 0.2]), truth, 0.05) == 0.0, "scale and shift do not matter"


def test_order_errors_ignore_near_pairs() -> None:
    """Range 100 (p2-p98: 96): neighbours 1 apart lie within 5 %, so swapping them changes nothing."""
    truth = np.arange(101, dtype=np.float64)
    swapped = truth.copy()
    swapped[[50, 51]] = swapped[[51, 50]]
    assert order_errors(swapped, truth, 0.05) == 0.0
    assert order_errors(-truth, truth, 0.05) == 1.0


def test_a_flat_truth_has_no_order() -> None:
    assert order_errors(np.arange(9, dtype=np.float64), np.ones(9), 0.05) == 0.0


def test_depth_is_judged_inside_the_person() -> None:
    truth = np.linspace(0.1, 0.9, 64).reshape(1, 1, 8, 8)
    person = np.zeros(truth.shape, dtype=bool)
    person[..., :4] = True
    candidate = np.where(person, truth, 0.0)

    inside = judge_depth(candidate, truth, person)
    assert inside["order_flips"] == 0.0
    assert inside["abs_rel"] == pytest.approx(0.0, abs=1e-12)
    assert inside["delta_1.25"] == inside["delta_1.05"] == 1.0
    assert judge_depth(candidate, truth, None)["order_flips"] > 0.1


def test_depth_is_aligned_before_the_ratio() -> None:
    truth = np.linspace(0.1, 0.9, 64)
    assert judge_depth(3 * truth - 1, truth, None)["abs_rel"] == pytest.approx(0.0, abs=1e-12)


def test_matte_by_hand() -> None:
    reference = np.array([1.0, 1.0, 1.0, 0.0])
    numbers = judge_matte(np.array([1.0, 1.0, 0.4, 0.6]), reference, None)
    assert numbers["iou"] == 0.5
    assert numbers["mae"] == pytest.approx(0.3)
    assert judge_matte(np.zeros(4), np.zeros(4), None)["iou"] == 1.0
    assert judge_matte(np.ones(4), np.zeros(4), None)["iou"] == 0.0


def test_scores_by_hand() -> None:
    assert judge_scores(np.array([[1, 2], [4, 3]]), np.array([[0, 9], [0, 9]]), None) == {"top1": 0.5}


def test_normals_by_hand() -> None:
    """Four normals that face the camera, against the same turned by 0, 3, 30 and 90 degrees to the right."""
    angles = np.radians([0, 3, 30, 90]).reshape(1, 1, 4)
    turned = np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], 1)
    ahead = np.zeros((1, 3, 1, 4))
    ahead[:, 2] = 1
    numbers = judge_normals(turned, ahead, None)
    assert numbers["angle_mean"] == pytest.approx(30.75) and numbers["turned_5"] == 0.5
    person = np.array([True, True, False, False]).reshape(1, 1, 1, 4)
    assert judge_normals(turned, ahead, person)["angle_mean"] == pytest.approx(1.5)
    assert judge_normals(5 * turned, turned, None)["angle_mean"] == pytest.approx(0, abs=1e-6), "length is no error"
    assert judge_normals(0 * turned, ahead, None)["angle_mean"] == 90.0
    small = np.stack([np.full((1, 1, 1), 1e-6), np.zeros((1, 1, 1)), np.ones((1, 1, 1))], 1)
    assert judge_normals(small, ahead[..., :1], None)["angle_mean"] == pytest.approx(np.degrees(1e-6), rel=1e-6)
    figures = normal_figures(np.array([0.0, 3, 30, 90]))
    assert (figures["angle_median"], figures["within_11.25"], figures["within_30"]) == (16.5, 0.5, 0.75)


def test_collect_keeps_the_worst_sample() -> None:
    folded = collect("y", {"a": {"iou": 0.9, "mae": 0.1}, "b": {"iou": 0.7, "mae": 0.3}}, {"iou": 0.8})
    iou, mae = folded
    assert (iou.value, iou.worst, iou.limit, iou.passed) == (0.7, "b", 0.8, False)
    assert iou.mean == pytest.approx(0.8)
    assert (mae.value, mae.worst, mae.limit, mae.passed) == (0.3, "b", None, True)


def test_collect_refuses_nothing_and_unmeasured_limits() -> None:
    with pytest.raises(StageError, match="no samples were compared for 'y'"):
        collect("y", {}, {})
    with pytest.raises(StageError, match="limits 'miou' of 'y'; measured: iou"):
        collect("y", {"a": {"iou": 1.0}}, {"miou": 0.5})


def test_the_lists_of_metrics_are_true() -> None:
    """budget.toml is checked against these lists."""
    image, scores = np.linspace(0, 1, 64).reshape(1, 1, 8, 8), np.eye(3)
    assert tuple(tensor_measures(image, image, 1.0)) == TENSOR_METRICS
    assert set(JUDGES) == set(JUDGE_METRICS) == set(SPEC_JUDGES)
    for name, judge in JUDGES.items():
        value = {"class-scores": scores, "surface-normals": np.concatenate([image] * 3, 1)}.get(name, image)
        assert tuple(judge(value, value, None)) == JUDGE_METRICS[name]
