"""The reference in float16, by which limits are eased, keeps in float32 what float16 cannot hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hydramobile.sway import half_of, in_half


@pytest.mark.parametrize(("size", "rounded"), [(1.0, True), (1e5, False), (1e-8, False), (0.0, True)])
def test_parameters_beyond_half_stay(size: float, rounded: bool) -> None:
    layer = torch.nn.Linear(64, 8, bias=False)
    layer.weight.data = torch.linspace(0.1, 1, 512).reshape(8, 64) * size
    copies = in_half({"net": layer})
    assert copies is not None
    copy = next(copies["net"].parameters()).data
    expected = layer.weight.data.half().float() if rounded else layer.weight.data
    assert torch.equal(copy, expected)
    assert torch.equal(layer.weight.data, torch.linspace(0.1, 1, 512).reshape(8, 64) * size), "the net is not changed"


def test_inputs_beyond_half_stay() -> None:
    values = half_of(np.array([0.1, 1e6], np.float32))
    assert values.tolist() == [float(np.float16(0.1)), 1e6]
    assert half_of(np.array([3], np.int64)).dtype == np.int64
