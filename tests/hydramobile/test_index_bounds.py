"""The range of inputs that index tables, where model.toml declares none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from export.program import capture
from hydramobile.errors import StageError
from hydramobile.files import sha256_file
from hydramobile.samples import assumed_ranges, load_samples, sample_inputs
from hydramobile.spec import load_spec

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.small = nn.Embedding(64, 4), nn.Embedding(9, 4)

    def forward(self, ids, kinds, count):
        one_hot = torch.nn.functional.one_hot(kinds, 7).float()
        y = self.table(ids.reshape(1, -1) + 3) + self.small(torch.cat([kinds, kinds], 1)[:, :6])
        return {"y": y * count.sum(), "nested": [one_hot, (None,)]}


class Unknown(Net):
    def forward(self, ids, kinds, count):
        return {"y": self.table(ids * 2), "nested": [ids + kinds + count]}


def build():
    return {"net": %s()}
"""
TOML = """
schema = 1
name = "bounds"
version = "1"
factory = "bounds_net:build"
weights = { path = "w.safetensors", sha256 = "%s" }
sizes = [[8, 8]]
[tensors.ids]
shape = [6]
dtype = "int64"
[tensors.kinds]
shape = [1, 6]
dtype = "int64"
[tensors.count]
shape = [1, 6]
dtype = "int32"
[modules.net]
inputs = ["ids", "kinds", "count"]
outputs = ["y", "hot"]
"""


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    def write(net: str) -> Path:
        folder = tmp_path / net / "bounds_net"
        folder.mkdir(parents=True)
        (folder.parent / "bounds_net.py").write_text(NET % net)
        tensors = {"net.table.weight": torch.rand(64, 4), "net.small.weight": torch.rand(9, 4)}
        save_file(tensors, folder.parent / "w.safetensors")
        (folder.parent / "model.toml").write_text(TOML % sha256_file(folder.parent / "w.safetensors"))
        return folder.parent

    return write


def test_the_smallest_table_bounds_an_index(model: Callable[[str], Path]) -> None:
    """Shifted indices too. An integer that indexes nothing has no bound."""
    spec = load_spec(model("Net"))
    assert assumed_ranges(spec, spec.size) == {"ids": (0.0, 60.0), "kinds": (0.0, 6.0)}
    for sample in load_samples(spec, "judge"):
        inputs = sample_inputs(spec, sample, spec.size)
        assert inputs["ids"].min() >= 0 and inputs["ids"].max() <= 60 and inputs["kinds"].max() <= 6
    assert np.ptp(sample_inputs(spec, load_samples(spec, "judge")[0], spec.size)["ids"]) > 2
    assert capture(spec).tensors["hot"].shape == (1, 6, 7)


def test_an_index_without_a_bound_asks_for_its_range(model: Callable[[str], Path]) -> None:
    with pytest.raises(StageError, match=r"IndexError.*declare its range.*\[tensors\.ids\]"):
        capture(load_spec(model("Unknown")))
