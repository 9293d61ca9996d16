"""Losses equal values computed by hand, and their gradients lead downhill."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reference import losses


def maps(*rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows)


def big(value: float) -> Tensor:
    """Return [1, 6, 6] of one value: more pixels than `losses.FEW`."""
    return torch.full((1, 6, 6), value)


ONES = big(1.0)


def test_person_l1_is_a_mean_over_the_person() -> None:
    mask = ONES.clone()
    mask[:, 5:] = 0
    predicted = big(3.0)
    predicted[:, 5:] = 100.0
    assert float(losses.person_l1(predicted, big(1.0), mask)) == pytest.approx(2.0)


def test_a_tiny_person_counts_less() -> None:
    mask = torch.zeros(1, 6, 6)
    mask[0, 0, 0] = 1
    assert float(losses.person_l1(big(3.0), big(1.0), mask)) == pytest.approx(2 / losses.FEW)


def test_berhu_is_linear_then_quadratic() -> None:
    predicted = torch.zeros(1, 5, 5)
    predicted[0, 0, 0], predicted[0, 0, 1] = 10.0, 1.0
    # c = 2: |1| stays 1, 10 becomes (100 + 4) / 4 = 26; 25 pixels.
    assert float(losses.berhu(predicted, torch.zeros(1, 5, 5), torch.ones(1, 5, 5))) == pytest.approx(27 / 25)


def test_scale_invariant_log() -> None:
    predicted = torch.full((1, 5, 4), math.e)
    predicted[0, 0] = 1.0
    # g is 1 on 16 of 20 pixels: .8 - .5 * .64
    assert float(losses.scale_invariant_log(predicted, torch.ones(1, 5, 4), torch.ones(1, 5, 4))) == pytest.approx(0.48)
    assert float(losses.scale_invariant_log(big(3.0), ONES, ONES, balance=1.0)) == pytest.approx(0, abs=1e-6)


def test_scale_shift_l1_ignores_scale_and_shift() -> None:
    truth = torch.linspace(0.5, 1.5, 36).reshape(1, 6, 6)
    assert float(losses.scale_shift_l1(truth * 3 + 4, truth, ONES)) == pytest.approx(0, abs=1e-5)
    # Against its own negative the error is twice the normalised truth, whose mean absolute value is 1.
    assert float(losses.scale_shift_l1(-truth, truth, ONES)) == pytest.approx(2, abs=1e-4)


def test_gradient_by_hand() -> None:
    predicted, truth = maps([[0.0, 1.0], [0.0, 3.0]]), torch.zeros(1, 2, 2)
    # Across: 1 and 3; down: 0 and 2; four pixels.
    assert float(losses.gradient(predicted, truth, torch.ones(1, 2, 2), (1,))) == pytest.approx(6 / 4)
    mask = maps([[1.0, 1.0], [1.0, 0.0]])
    assert float(losses.gradient(predicted, truth, mask, (1,))) == pytest.approx(1 / 3)


def test_gradient_ignores_a_shift() -> None:
    truth = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float(losses.gradient(truth + 5, truth, torch.ones(1, 32, 32))) == pytest.approx(0, abs=1e-4)


def test_order_by_hand() -> None:
    truth = torch.zeros(1, 12, 12)
    truth[:, 6:] = 1.0
    ones = torch.ones(1, 12, 12)
    # Mean .5, deviation .5: the truth's pairs six rows apart differ by 2 units, 72 pairs of them.
    right = float(losses.order(truth, truth, ones, [(6, 0)]))
    assert right == pytest.approx(math.log1p(math.exp(-3 * 2)) / 3, rel=1e-4)
    wrong = float(losses.order(-truth, truth, ones, [(6, 0)]))
    assert wrong == pytest.approx(math.log1p(math.exp(6)) / 3, rel=1e-4)
    assert float(losses.order(truth, torch.ones(1, 12, 12), ones, [(6, 0)])) == 0.0, "a flat truth has no order"


def test_hinges() -> None:
    assert float(losses.background_hinge(big(1.0), ONES, 0.7)) == pytest.approx(0.3)
    assert float(losses.background_hinge(big(0.5), ONES, 0.7)) == 0.0
    assert float(losses.person_hinge(big(0.25), ONES, 0.5, 2.0)) == pytest.approx(0.25)
    assert float(losses.person_hinge(big(3.0), ONES, 0.5, 2.0)) == pytest.approx(1.0)
    assert float(losses.person_hinge(ONES, ONES, 0.5, 2.0)) == 0.0


def face(sign: float) -> tuple[Tensor, Tensor]:
    """Return a disparity that rises to the right, and twelve points along it whose truth rises or falls."""
    d = torch.linspace(0, 1, 48).repeat(1, 48, 1)
    points = torch.zeros(1, 2, 12, 4)
    points[0, 0, :, 0] = torch.linspace(4, 40, 12)
    points[0, 0, :, 1] = 20
    points[0, 0, :, 2] = sign * torch.linspace(4, 40, 12) * 7 + 3
    points[0, 0, :, 3] = 1
    return d, points


def test_relief_is_one_minus_correlation() -> None:
    assert float(losses.relief(*face(1))) == pytest.approx(0, abs=1e-3)
    assert float(losses.relief(*face(-1))) == pytest.approx(2, abs=1e-3)
    d, points = face(-1)
    points[..., 3] = 0
    assert float(losses.relief(d, points)) == 0.0, "hidden points do not count"
    points[0, 0, :5, 3] = 1
    assert float(losses.relief(d, points)) == 0.0, "five points are too few"


def test_matte_terms_by_hand() -> None:
    alpha, logit = big(1.0), big(0.0)
    assert float(losses.matte_entropy(logit, alpha)) == pytest.approx(math.log(2))
    assert float(losses.matte_l1(logit, alpha)) == pytest.approx(0.5)
    # 36 pixels at a half of 1: intersection 18, union 36, and 20 added to both.
    assert float(losses.matte_overlap(logit, alpha)) == pytest.approx(1 - 38 / 56)
    assert float(losses.matte_edge(logit, alpha)) == 0.0, "no edge, no edge loss"


def test_matte_edge_counts_the_band_alone() -> None:
    alpha = torch.zeros(1, 20, 20)
    alpha[:, :, 10:] = 1
    logit = torch.where(alpha > 0, 20.0, -20.0)
    logit[:, :, 0] = 20.0
    assert float(losses.matte_edge(logit, alpha)) == pytest.approx(0, abs=1e-6)
    logit[:, :, 9] = 20.0
    # Two columns on either side of the edge: one of four is wrong.
    assert float(losses.matte_edge(logit, alpha)) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(
    "term",
    [losses.person_l1, losses.berhu, losses.scale_invariant_log, losses.scale_shift_l1, losses.gradient],
)
def test_gradients_are_finite_and_lead_downhill(term: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(1)
    truth = 0.5 + torch.rand(1, 16, 16, generator=generator)
    predicted = (0.5 + torch.rand(1, 16, 16, generator=generator)).requires_grad_()
    ones = torch.ones(1, 16, 16)
    loss = term(predicted, truth, ones).sum()
    before = loss.item()
    (slope,) = torch.autograd.grad(loss, predicted)
    assert torch.isfinite(slope).all()
    after = term(predicted.detach() - 0.01 * slope / slope.norm(), truth, ones).sum()
    assert float(after) < before
