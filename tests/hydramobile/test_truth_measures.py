"""Measures of truth against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hydramobile.errors import StageError
from hydramobile.measures import (
    background_errors,
    boundary_f,
    depth_truth,
    dilate,
    matte_truth,
    outline,
    point_order,
    ramp,
)

ALL = np.ones((2, 3), bool)
TRUTH = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_depth_is_judged_up_to_scale_and_shift() -> None:
    figures = depth_truth(TRUTH * 7 - 30, TRUTH, ALL)
    assert [figures[f"whdr_{gap}"] for gap in (2, 5, 10)] == [0, 0, 0]
    assert figures["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert figures["rmse"] == pytest.approx(0, abs=1e-9)
    assert figures["delta_1.05"] == 1.0
    assert figures["r2"] == pytest.approx(1)


def test_reversed_order_is_all_wrong_and_a_tie_is_wrong_too() -> None:
    assert depth_truth(-TRUTH, TRUTH, ALL)["whdr_2"] == 1.0
    assert depth_truth(np.zeros((2, 3)), TRUTH, ALL)["whdr_10"] == 1.0


def test_a_constant_explains_nothing() -> None:
    """The mean of 1..6 over the median 3.5 is 1: every figure follows by hand."""
    figures = depth_truth(np.zeros((2, 3)), TRUTH, ALL)
    t = np.arange(1, 7) / 3.5
    assert figures["r2"] == pytest.approx(0)
    assert figures["abs_rel"] == pytest.approx(np.mean([abs(1 - x) / x for x in t]))
    assert figures["rmse"] == pytest.approx(math.sqrt(17.5 / 6) / 3.5)
    logs = [math.log(1 / x) for x in t]
    assert figures["rmse_log"] == pytest.approx(math.sqrt(sum(g * g for g in logs) / 6))
    assert figures["si_log"] == pytest.approx(sum(g * g for g in logs) / 6 - (sum(logs) / 6) ** 2)
    # Ratios: 3.5, 1.75, 1.1667, 1.1429, 1.4286, 1.7143.
    assert figures["delta_1.05"] == 0.0
    assert figures["delta_1.25"] == pytest.approx(2 / 6)
    assert figures["delta_1.25^2"] == pytest.approx(3 / 6)
    assert figures["delta_1.25^3"] == pytest.approx(5 / 6)


def test_the_gap_leaves_close_pairs_out() -> None:
    """Two near values are swapped: an error at a gap of 2 %, ignored at 5 %."""
    truth = np.concatenate([np.linspace(0, 1, 50), [0.5, 0.53]])[None] + 1
    made = truth.copy()
    made[0, -2:] = made[0, -2:][::-1]
    person = np.ones_like(truth, bool)
    at2, at5 = (depth_truth(made, truth, person)[name] for name in ("whdr_2", "whdr_5"))
    assert at2 > at5


def test_nobody_and_no_distance_are_errors() -> None:
    with pytest.raises(StageError, match="nothing"):
        depth_truth(TRUTH, TRUTH, np.zeros((2, 3), bool))
    with pytest.raises(StageError, match="median"):
        depth_truth(TRUTH, -TRUTH, ALL)


def test_the_ramp_is_the_least_squares_line_over_rows() -> None:
    truth = np.array([[0.0, 9.0], [2.0, 2.0], [4.0, 9.0]])
    person = np.array([[True, False], [True, True], [True, False]])
    assert ramp(truth, person) == pytest.approx(np.array([[0.0, 0], [2, 2], [4, 4]]))


def test_person_and_background() -> None:
    alpha = np.array([[1.0, 1.0, 0.0, 0.0, 0.5]])
    truth = np.array([[2.0, 2.0, 1.0, 3.0, 3.0]])
    assert background_errors(truth, truth, alpha) == 0.0
    # The net sees everything behind the person; one of the two background pixels is before him.
    made = np.array([[1.0, 1.0, 0.0, 0.0, 0.0]])
    assert background_errors(made, truth, alpha) == pytest.approx(0.5, abs=0.02)
    assert background_errors(np.zeros((1, 5)), truth, alpha) == 1.0
    assert background_errors(made, truth, np.ones((1, 5))) == 0.0


def test_points_of_a_face() -> None:
    truth = np.array([3.0, 2.0, 1.0, 1.05])
    # Pairs: 3-2, 3-1, 3-1.05, 2-1, 2-1.05; 1 and 1.05 are within a tenth of the range.
    assert point_order(truth, truth) == (5, 5)
    assert point_order(np.array([3.0, 3.0, 1.0, 1.0]), truth) == (4, 5)
    assert point_order(np.zeros(4), truth) == (0, 5)


def square(size: int, low: int, high: int) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


def test_outline_and_growing() -> None:
    assert outline(square(7, 2, 5)).sum() == 8
    assert outline(np.ones((4, 4), bool)).sum() == 0, "the border of the photo is no outline"
    point = np.zeros((7, 7), bool)
    point[3, 3] = True
    assert dilate(point, 2).sum() == 13, "a disk of radius 2"


def test_boundary_f() -> None:
    truth = square(40, 10, 30)
    assert boundary_f(truth, truth, 2) == 1.0
    assert boundary_f(square(40, 12, 32), truth, 2) < 1.0
    assert boundary_f(square(40, 11, 29), truth, 2) == 1.0, "one pixel is within two"
    assert boundary_f(square(40, 15, 25), truth, 2) == 0.0
    empty = np.zeros((40, 40), bool)
    assert boundary_f(empty, empty, 2) == 1.0
    assert boundary_f(empty, truth, 2) == 0.0


def test_matte_figures() -> None:
    truth = np.array([[1.0, 1.0, 0.0, 0.0]])
    made = np.array([[1.0, 0.6, 0.6, 0.2]])
    figures = matte_truth(made, truth)
    assert figures["iou"] == pytest.approx(2 / 3)
    assert figures["mae"] == pytest.approx((0 + 0.4 + 0.6 + 0.2) / 4)
