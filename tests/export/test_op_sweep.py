"""The sweep over PyTorch's own op tests: the ops that it leaves out, its verdicts, and its page."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from support import op_db
from support.op_db import Calls, swept_op
from support.op_page import Swept, state_of, sweep_page
from support.op_sweep import difference, sweep

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("bernoulli", op_db.RANDOM), ("zeros", op_db.CONSTANT), ("gcd", op_db.NO_FORWARD), ("empty_like", "memory")],
)
def test_ops_that_cannot_be_judged_are_left_out_with_a_reason(name: str, reason: str) -> None:
    op = swept_op(name)
    assert not op.samples
    assert reason in op.left_out


def test_samples_are_the_same_every_time_and_calls_compute_them() -> None:
    first, second = swept_op("addmm"), swept_op("addmm")
    assert 0 < len(first.samples) <= op_db.MOST_SAMPLES
    tensors = [tensor for sample in first.samples for tensor in sample.tensors]
    again = [tensor for sample in second.samples for tensor in sample.tensors]
    assert all(torch.equal(one, other) for one, other in zip(tensors, again, strict=True))
    results = Calls(first.samples)(*tensors)
    own = [value for sample in first.samples for value in sample.call(sample.tensors)]
    assert all(torch.equal(one, other) for one, other in zip(results, own, strict=True))


def test_complex_results_are_pairs_and_scalars_have_one_element() -> None:
    assert op_db.real(torch.complex(torch.ones(3), torch.zeros(3))).shape == (3, 2)
    assert op_db.real(torch.tensor(2.0)).shape == (1,)


def test_a_difference_is_told() -> None:
    reference = np.array([1.0, math.inf, math.nan, 200.0], np.float32)
    assert difference(reference.copy(), reference) == ""
    assert "error" in difference(reference + np.float32(0.1), reference)
    assert "shape" in difference(reference[:2], reference)
    assert "NaN" in difference(np.array([1.0, 3.0, math.nan, 200.0], np.float32), reference)
    assert "NaN" in difference(np.array([math.nan, math.inf, math.nan, 200.0], np.float32), reference)


def test_an_op_goes_through_a_target() -> None:
    outcomes = sweep("cosh", swept_op("cosh").samples, "onnx")
    assert {outcome.state for outcome in outcomes} == {"passed"}


def test_the_page_counts_ops_by_their_worst_sample() -> None:
    rows: dict[str, Swept] = {
        "a": {"left_out": "", "targets": {"onnx": [["passed", "", 5], ["refused", "op 'a' is not supported", 1]]}},
        "b": {"left_out": "", "targets": {"onnx": [["decomposed", "decompose_for_onnx", 2]]}},
        "c": {"left_out": "random", "targets": {}},
        "d": {"left_out": "", "targets": {}},
    }
    assert state_of(rows["a"]["targets"]["onnx"]) == "refused"
    page = sweep_page(rows, {"onnx": "ONNX"})
    assert "| ONNX | 33.3 % | 0 | 1 | 1 | 0 | 0 | 1 |" in page
    assert "| `a` | 6 | passed (5), refused (1) |" in page
    assert "- random (1): `c`" in page
    assert "`d`" not in page
