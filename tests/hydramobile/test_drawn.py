"""Drawn inputs: at least six of every model, within the range, seeded, and never used for calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hydramobile.drawn import drawn_input, drawn_names
from hydramobile.goldens import drawn_golden, load_drawn, refresh
from hydramobile.samples import drawn_samples, load_samples, sample_inputs
from hydramobile.spec import ModelSpec, TensorSpec, load_spec

RANGES = [None, (0.0, 1.0), (-1.0, 1.0), (5.0, 10.0), (0.0, 255.0), (-3.0, -2.0)]


@pytest.fixture(scope="module")
def spec(model_dir: Callable[[str], Path]) -> ModelSpec:
    return load_spec(model_dir("mixed"))


def tensor(dtype: str, limits: tuple[float, float] | None) -> TensorSpec:
    return TensorSpec("x", (3, 40), "any", dtype, limits, "tensor", None, "")


@pytest.mark.parametrize("limits", RANGES)
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "bool"])
def test_values(dtype: str, limits: tuple[float, float] | None) -> None:
    if dtype == "bool" and limits not in (None, (0.0, 1.0)):
        pytest.skip("a bool is 0 or 1")
    one = tensor(dtype, limits)
    kinds = ("zeros", "high", "low", "gradient", "large", "sparse", "dim", "noise")
    drawn = {kind: drawn_input(one, (1, 1), kind) for kind in kinds}
    low, high = limits or {"bool": (0, 1), "float32": (-4, 4)}.get(dtype, (-1, 1))
    for kind, value in drawn.items():
        assert value.dtype == dtype and value.shape == (3, 40), kind
        assert low <= value.min() and value.max() <= high, kind
        assert np.array_equal(value, drawn_input(one, (1, 1), kind)), "the same values every time"
    assert (drawn["high"] == high).all() and (drawn["low"] == low).all()
    assert (drawn["zeros"] == min(max(0, low), high)).all()
    assert set(np.unique(drawn["large"])) == {low, high}
    assert 0 < int(np.sum(np.not_equal(drawn["sparse"], drawn["zeros"]))) < 20
    assert (np.diff(drawn["gradient"].astype(float).ravel()) >= 0).all()


def test_photos_keep_their_steps(spec: ModelSpec) -> None:
    for sample in drawn_samples(spec):
        image = sample_inputs(spec, sample, spec.size)["image"]
        assert np.array_equal(np.rint(np.asarray(image, np.float32) * 255) / np.float32(255), image), sample.name


def test_at_least_six(spec: ModelSpec) -> None:
    assert len(drawn_names(spec)) >= 6
    assert "low" not in drawn_names(spec), "it is the same as zeros in [0, 1]"
    image = replace(spec.tensors["image"], range=(-1.0, 1.0))
    assert "low" in drawn_names(replace(spec, tensors={**spec.tensors, "image": image}))
    assert not {s.sha256 for s in drawn_samples(spec)} & {s.sha256 for s in load_samples(spec, "calibrate")}


def test_goldens(spec: ModelSpec, tmp_path: Path) -> None:
    samples = drawn_samples(spec)
    assert refresh(spec, samples, spec.size, tmp_path / "mixed/goldens") == len(samples)
    assert refresh(spec, samples, spec.size, tmp_path / "mixed/goldens") == 0
    goldens = load_drawn(spec, spec.size, tmp_path)
    assert [golden.sample for golden in goldens] == [f"drawn-{kind}" for kind in drawn_names(spec)]
    for golden in goldens:
        assert set(golden.sway) == set(golden.half) == {"front", "back"}, "final outputs alone"
        assert golden.sway["front"].max() < golden.half["front"].max() < 0.01


def test_where_the_reference_fails(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawn input outside the net's domain judges nothing, and does not stop the others."""
    import torch

    class Logarithm(torch.nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def forward(self, x: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (0 / x + x,) * self.count

    modules = {module.name: Logarithm(len(module.outputs)) for module in spec.modules.values()}
    zeros = next(sample for sample in drawn_samples(spec) if sample.name == "drawn-zeros")
    golden = drawn_golden(spec, modules, zeros, spec.size)
    assert "NaN" in golden.refused and not golden.tensors
    monkeypatch.setattr("hydramobile.goldens.load_modules", lambda spec: modules)
    monkeypatch.setattr("hydramobile.goldens.make_golden", lambda *arguments: golden)
    refresh(spec, [zeros], spec.size, tmp_path / "mixed/goldens")
    monkeypatch.setattr("hydramobile.goldens.drawn_samples", lambda spec: (zeros,))
    (loaded,) = load_drawn(spec, spec.size, tmp_path)
    assert loaded.refused == golden.refused
