"""Calibration: the range of each observer for known values, nested choices of samples, and the cache of ranges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from export.program import DRAWN_MARK, Cache, Program, calibrate, limit_calibration
from export.quantize.calibration import calibrated_ranges
from export.quantize.observers import Histogram, Range, RangeObserver
from hydramobile.drawn import drawn_hash
from hydramobile.errors import StageError
from hydramobile.recipes import METHODS, recipe
from hydramobile.samples import Sample
from support.programs import ops_program

NORMAL = np.random.default_rng(1).normal(size=200_000).astype(np.float32)
# Observers differ by their treatment of a few outliers.
OUTLIERS = np.concatenate([NORMAL, np.full(4, 60, np.float32)])


def observed(method: str, *samples: np.ndarray) -> Range:
    observer = RangeObserver(method)
    for sample in samples:
        observer.observe("x", sample)
    return observer.ranges()["x"]


def rounding_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(np.mean((np.clip(np.round(values / step) * step, low, high) - values) ** 2))


def test_minmax_keeps_the_extremes_and_percentile_clips_the_rarest() -> None:
    assert observed("minmax", OUTLIERS) == (float(NORMAL.min()), 60.0)
    low, high = observed("percentile", OUTLIERS)
    assert 3.5 < high < 6 and -6 < low < -3.5
    assert observed("percentile", NORMAL[:50], 3 * NORMAL[:50]) == (3 * NORMAL[:50].min(), 3 * NORMAL[:50].max())


@pytest.mark.parametrize("method", ["mse", "entropy"])
def test_searched_ranges_clip_far_outliers(method: str) -> None:
    low, high = observed(method, OUTLIERS)
    assert low < 0 < high < 60
    assert rounding_error(NORMAL, low, high) < rounding_error(NORMAL, *observed("minmax", OUTLIERS))


def test_mse_loses_least_of_all_methods() -> None:
    values = np.random.default_rng(2).laplace(size=100_000).astype(np.float32)
    errors = {method: rounding_error(values, *observed(method, values)) for method in METHODS}
    assert errors["mse"] <= min(errors.values()) * 1.05


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_samples_does_not_matter(method: str) -> None:
    parts = np.array_split(OUTLIERS, 5)
    assert observed(method, *parts) == observed(method, *parts[::-1])


@pytest.mark.parametrize("method", METHODS)
def test_constants_and_non_negative_tensors(method: str) -> None:
    assert observed(method, np.zeros(8, np.float32)) == (0.0, 0.0)
    low, high = observed(method, np.maximum(NORMAL, 0))
    assert low == 0 and high > 3


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_integers_cannot_hold_has_no_range(method: str) -> None:
    """NaN, the scores of a mask, and one channel that is 300 times the others."""
    outlier = np.abs(NORMAL.reshape(-1, 100)).clip(0.1, 3)
    outlier[:, 5] *= 2000
    for values in (np.array([1, np.nan], np.float32), np.array([-np.inf, 0, 1], np.float32), outlier):
        observer = RangeObserver(method)
        observer.observe("x", np.asarray(values, np.float32))
        observer.observe("y", NORMAL)
        assert list(observer.ranges()) == ["y"]
    masked = RangeObserver(method)
    masked.observe("x", np.array([-3e4, 1, 2], np.float32))
    assert masked.ranges() == {}


def test_a_histogram_grows_without_losing_counts() -> None:
    histogram = Histogram()
    for value in (0.1, 900.0, -3.0, 0.0):
        histogram.add(np.full(7, value, np.float32))
    assert histogram.counts.sum() == 21 and histogram.limit == 1024


def program(hashes: tuple[str, ...], cache: Cache | None = None) -> Program:
    spec: Any = SimpleNamespace(name="net")
    values: Any = tuple({"x": key} for key in hashes)
    return Program(spec, (4, 4), {}, {}, values, hashes, cache or Cache())


def test_fewer_samples_are_a_part_of_more() -> None:
    whole = program(("d", "a", "c", "b"))
    assert limit_calibration(whole, 0) is whole
    assert limit_calibration(whole, 2).calibration_hashes == ("a", "b")
    assert limit_calibration(whole, 3).calibration_hashes == ("a", "b", "c")
    assert [row["x"] for row in limit_calibration(whole, 3).calibration] == ["a", "b", "c"]
    with pytest.raises(StageError, match="5 calibration samples are asked for, and there are 4"):
        limit_calibration(whole, 5)


def test_ranges_are_measured_once_for_the_same_samples_and_method(tmp_path: Path) -> None:
    calls: list[str] = []

    def observe(observer: RangeObserver) -> None:
        calls.append(observer.method)
        observer.observe("x", NORMAL)

    def get(hashes: tuple[str, ...], name: str, stamp: str = "stamp", graph: str = "encoder") -> Any:
        return calibrated_ranges(program(hashes, Cache(tmp_path, stamp)), recipe(name), graph, observe)

    first = get(("a", "b"), "w8a8")
    assert get(("b", "a"), "w8a8") == first and calls == ["percentile"]
    get(("a",), "w8a8")
    get(("a", "b"), "w8a8-mse")
    get(("a", "b"), "w8a8", stamp="other")
    get(("a", "b"), "w8a8", graph="depth")
    get(("a", "b"), "w8a8-eq")
    assert len(calls) == 6
    get(("a", "b"), "w8a8", stamp="")
    assert len(calls) == 7 and len(list(tmp_path.iterdir())) == 6
    assert replace(recipe("w8a8"), name="w8a8-percentile") == recipe("w8a8-percentile")


@pytest.mark.parametrize("edit", ["scaled", "truncated", "list", "empty", "strings"])
def test_an_edited_or_damaged_cache_is_measured_again(tmp_path: Path, capsys: Any, edit: str) -> None:
    """The input hash of an artifact does not cover the cache: edited ranges would change its bytes silently."""
    program: Any = SimpleNamespace(cache=Cache(tmp_path, "stamp"), calibration_hashes=("a",), calibration=((),))

    def measure() -> dict[str, Range]:
        return calibrated_ranges(program, recipe("w8a8"), "g", lambda observer: observer.observe("x", NORMAL))

    right = measure()
    (path,) = tmp_path.glob("*.json")
    text = path.read_text()
    low, high = right["x"]
    path.write_text(
        {
            "scaled": text.replace(repr(high), repr(high * 0.05)),
            "truncated": text[: len(text) // 2],
            "list": "[{}]",
            "empty": '{"sha256": "", "ranges": {}}',
            "strings": '{"sha256": "", "ranges": {"x": ["a", null]}}',
        }[edit]
    )
    assert measure() == right
    assert path.read_text() == text
    assert [broken.name for broken in tmp_path.glob("*.broken")] == [f"{path.name}.broken"]
    assert "it is kept as" in capsys.readouterr().err
    assert low < high


def test_nets_without_photos_are_calibrated_on_drawn_inputs_too() -> None:
    """Noise never holds the ends of the range: a tensor that only they drive far gets its range from drawn inputs."""
    whole = ops_program({"y": lambda x: torch.relu(x.mean(-1) - 0.9) * 50}, (1, 4, 64), 0, 1)
    spec = replace(whole.spec, tensors={"x": replace(whole.spec.tensors["x"], range=(0.0, 1.0))})
    samples = tuple(Sample(f"s{i}", "calibrate", f"{i}", None, "seeded", "CC0-1.0") for i in range(2))
    seeded = calibrate(replace(whole, spec=spec), samples)
    assert len(seeded.calibration) == 2 and max(float(row["y"].max()) for row in seeded.calibration) == 0
    drawn = calibrate(replace(whole, spec=spec), samples, drawn=True)
    high = DRAWN_MARK + drawn_hash("high", "calibrate")
    assert drawn.calibration_hashes[:2] == ("0", "1") and high in drawn.calibration_hashes
    assert max(float(row["y"].max()) for row in drawn.calibration) == pytest.approx(5, rel=1e-4)
