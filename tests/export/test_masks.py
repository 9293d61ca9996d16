"""Masks of attention and softmax, and infinite, huge and tiny constants: every target returns PyTorch's values."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hydramobile.targets import TARGETS
from support.emit import beyond, emit, emit_run_compare
from support.programs import Cases, ops_program

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
LIMIT = 1e-5
TOKENS = (1, 6, 8)
LARGEST = torch.finfo(torch.float32).max


def heads(x: Tensor, count: int) -> Tensor:
    """Split the channels of [1, N, C] into heads: [1, count, N, C / count]."""
    split: Tensor = x.unflatten(-1, (count, -1))
    return split.transpose(1, 2)


def allowing(x: Tensor) -> Tensor:
    """Return a causal mask that also forbids keys by their elements, and all keys to the first two queries."""
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    return causal & (x[:, None, None, :, 0] > -3) & (torch.arange(6) > 1)[:, None]


def scores(x: Tensor) -> Tensor:
    return x @ x.transpose(1, 2)


def half_forbidden(x: Tensor) -> Tensor:
    bias = torch.zeros(6, 6).masked_fill(torch.ones(6, 6, dtype=torch.bool).triu(1), -math.inf)
    return F.scaled_dot_product_attention(heads(x, 2), heads(x, 2), heads(x, 2), attn_mask=bias)


def rows_forbidden(x: Tensor) -> Tensor:
    bias = torch.zeros(6, 6).masked_fill((torch.arange(6) > 3)[:, None], -math.inf)
    return F.scaled_dot_product_attention(heads(x, 2), heads(x, 2), heads(x, 2), attn_mask=bias)


def grouped(x: Tensor) -> Tensor:
    few = heads(x[..., :4], 2)
    return F.scaled_dot_product_attention(heads(x, 4), few, few, attn_mask=allowing(x), enable_gqa=True)


MASKS: Cases = {
    "boolean": lambda x: F.scaled_dot_product_attention(heads(x, 2), heads(x, 2), heads(x, 2), attn_mask=allowing(x)),
    "grouped": grouped,
    "causal": lambda x: F.scaled_dot_product_attention(
        heads(x, 2)[:, :, :4], heads(x, 2), heads(x, 2), is_causal=True, scale=0.2
    ),
    "additive": half_forbidden,
    "rows": rows_forbidden,
    "upper": lambda x: (scores(x) + torch.full((6, 6), -math.inf).triu(1)).softmax(-1),
    "lower": lambda x: (scores(x) + torch.full((6, 6), -math.inf).tril(-1)).softmax(-1),
    "lowest": lambda x: (scores(x) + torch.full((6, 6), -LARGEST).triu(1)).softmax(-1),
    "lowest_twice": lambda x: torch.clamp(
        (x < 0).float() * -LARGEST + torch.full((6, 8), -LARGEST), min=-LARGEST
    ).softmax(-1),
    "filled": lambda x: scores(x).masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf).softmax(-1),
}
CONSTANTS: Cases = {
    "clamped": lambda x: torch.clamp(x.abs() * LARGEST * 8, max=LARGEST) * 1e-38,
    "clamped_both": lambda x: torch.clamp(x * LARGEST * 8, -LARGEST, LARGEST) * 1e-38,
    "tiny_sum": lambda x: torch.log(torch.relu(x) + 1e-8),
    "tiny_share": lambda x: torch.relu(x) / (torch.relu(x).sum(-1, keepdim=True) + 1e-9),
    "tiny_difference": lambda x: torch.relu(x - 1e-8) / 1e-8 * 1e-6,
    "log_of_sum": lambda x: torch.logaddexp(x * 100, x.flip(-1) * 100) / 100,
    "log_sigmoid": lambda x: F.logsigmoid(x * 100) / 100,
    "far_logits": lambda x: F.log_softmax(x * 100, -1) / 100,
    "class_loss": lambda x: F.cross_entropy(x[0] * 9, torch.tensor([0, 7, 2, 1, 1, 5]), reduction="none"),
    "class_loss_mean": lambda x: F.cross_entropy(x[0], torch.tensor([0, 7, -100, 1, 1, 5])).reshape(1),
    "near_one": lambda x: x * 1.000009 - x,
}


@pytest.mark.parametrize("target", TARGETS)
def test_masks(target: str, tmp_path: Path) -> None:
    built = emit(ops_program(MASKS, TOKENS), target, tmp_path)
    built.read_back()
    assert beyond(built.errors(), LIMIT) == {}


def test_a_row_that_allows_no_key_is_zero() -> None:
    """PyTorch returns zeros, not NaN and not the mean of the values: the tests above compare with them."""
    x = torch.rand(TOKENS)
    for name in ("boolean", "grouped"):
        assert MASKS[name](x)[:, :, :2].abs().max() == 0
    assert MASKS["rows"](x)[:, :, 4:].abs().max() == 0


@pytest.mark.parametrize("target", TARGETS)
def test_constants_beyond_and_below_the_usual(target: str, tmp_path: Path) -> None:
    assert beyond(emit_run_compare(ops_program(CONSTANTS, TOKENS), target, tmp_path), LIMIT) == {}
