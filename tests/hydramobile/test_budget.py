"""budget.toml: reviewed limits, never looser than the ceilings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hydramobile.budget import ceiling_of, load_budget
from hydramobile.errors import HydraError, StageError
from hydramobile.spec import load_spec
from hydramobile.targets import TARGETS

WriteModel = Callable[..., Path]
ROW = '[[limit]]\nrecipe = "{}"\noutput = "{}"\nmetric = "{}"\nlimit = {}\nreason = "{}"\n'


def row(recipe: str, output: str, metric: str, limit: float, reason: str = "because") -> str:
    return ROW.format(recipe, output, metric, limit, reason)


def test_without_a_file_float32_ships_under_defaults_and_ceilings(write_model: WriteModel) -> None:
    budget = load_budget(load_spec(write_model()))
    assert all(budget.recipes(target) == ("float32",) for target in TARGETS)
    assert budget.limits_for("onnx", "float32", "alpha", False) == {"err_sens": 1e-3, "max_abs": 1e-4}
    assert budget.limits_for("onnx", "float32", "feature", True) == {"err_sens": 1e-3}
    assert budget.limits_for("onnx", "w8", "alpha", False) == {"iou": 0.99}


@pytest.mark.parametrize(
    ("name", "iou", "flips"),
    [
        ("p8", 0.99, 0.015),
        ("w8g1", 0.99, 0.015),
        ("w16", 0.99, 0.015),
        ("w8a8-mse", 0.98, 0.04),
        ("p6", 0.97, 0.03),
        ("w4g16", 0.97, 0.03),
        ("s50", 0.97, 0.03),
        ("s50w8", 0.97, 0.03),
        ("tiny", 0.97, 0.03),
    ],
)
def test_no_recipe_goes_without_a_limit(write_model: WriteModel, name: str, iou: float, flips: float) -> None:
    """A recipe without a limit has the ceilings of the most similar one; an output without a judge, 10 dB."""
    budget = load_budget(load_spec(write_model()))
    assert budget.limits_for("coreml", name, "alpha", False)["iou"] == iou
    assert ceiling_of(name, "relative-depth") == {"order_flips": flips}
    assert budget.limits_for("coreml", "p4", "feature", True) == {"snr_db": 10.0}


def test_a_row_replaces_the_ceilings_of_the_most_similar_recipe(write_model: WriteModel) -> None:
    budget = load_budget(load_spec(write_model(files={"budget.toml": row("p4", "alpha", "iou", 0.95)})))
    assert budget.limits_for("coreml", "p4", "alpha", False) == {"iou": 0.95}


def test_ship_and_candidates(write_model: WriteModel) -> None:
    text = '[ship]\nonnx = ["float32", "w8"]\n[candidates]\nonnx = ["w8", "p4"]\ntfjs = ["float16"]\n'
    budget = load_budget(load_spec(write_model(files={"budget.toml": text})))
    assert budget.recipes("onnx") == ("float32", "w8", "p4")
    assert budget.recipes("tfjs") == ("float16",)
    assert budget.recipes("coreml") == ()


def test_the_tightest_row_wins(write_model: WriteModel) -> None:
    rows = [
        row("w8", "alpha", "iou", 0.995),
        row("w8", "*", "iou", 0.993),
        row("float32", "*", "max_abs", 5e-5),
        row("float32", "alpha", "max_abs", 9e-5),
        row("w8", "features", "snr_db", 20),
    ]
    budget = load_budget(load_spec(write_model(files={"budget.toml": "\n".join(rows)})))
    assert budget.limits_for("onnx", "w8", "alpha", False)["iou"] == 0.995
    assert budget.limits_for("onnx", "float32", "alpha", False)["max_abs"] == 5e-5
    assert budget.limits_for("onnx", "w8", "feature", True) == {"snr_db": 20.0}


def test_rows_may_be_for_some_targets(write_model: WriteModel) -> None:
    text = row("w8", "alpha", "iou", 0.995) + 'targets = ["litert"]\n'
    budget = load_budget(load_spec(write_model(files={"budget.toml": text})))
    assert budget.limits_for("litert", "w8", "alpha", False)["iou"] == 0.995
    assert budget.limits_for("onnx", "w8", "alpha", False)["iou"] == 0.99


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (row("float32", "alpha", "max_abs", 2e-4), "looser than the ceiling 0.0001"),
        (row("w8", "alpha", "iou", 0.98), "looser than the ceiling 0.99"),
        (row("w8", "alfa", "iou", 0.995), "did you mean 'alpha'"),
        (row("w8", "alpha", "miou", 0.995), "did you mean 'iou'"),
        (row("w8", "alpha", "order_flips", 0.01), "'metric' is 'order_flips'"),
        (row("w8", "features", "iou", 0.995), "'metric' is 'iou'"),
        (row("w8", "alpha", "iou", 0.995, " "), "'reason' is empty"),
        (row("w8", "alpha", "iou", -1), "cannot be limited by -1"),
        (row("w8", "alpha", "mean_abs", -1), "cannot be limited by -1"),
        (row("w8", "alpha", "iou", float("nan")), "must be a finite number"),
        (row("w99", "alpha", "iou", 0.995), "no recipe 'w99'"),
        (row("w8", "alpha", "iou", 0.995) + 'targets = ["onxn"]', "no target 'onxn'"),
        ('[ship]\nonxn = ["float32"]', "did you mean 'onnx'"),
        ('[ship]\nonnx = ["float33"]', "did you mean 'float32'"),
        ('[shp]\nonnx = ["float32"]', "did you mean 'ship'"),
        ('[against]\nmodel = "nobody"', "there is no model 'nobody' in the folder beside this one"),
        ('[against]\nmodel = "../small"', "there is no model '../small' in the folder beside"),
        ('[against]\nonnx = ["w8"]', "'model'"),
        ('[ship]\nonnx = ["float32"]\n[against]\nmodel = "small"\nonnx = ["w8"]', "names onnx w8, which is neither"),
        ("[ship", "is not readable TOML"),
    ],
)
def test_refuses(write_model: WriteModel, text: str, message: str) -> None:
    spec = load_spec(write_model(files={"budget.toml": text}))
    with pytest.raises(HydraError) as caught:
        load_budget(spec)
    assert message in str(caught.value)


def test_recipes_that_replace_another_models_recipes(write_model: WriteModel, tmp_path: Path) -> None:
    folder = write_model()
    other = shutil.copytree(folder, tmp_path / "other")
    (folder / "budget.toml").write_text('[candidates]\nonnx = ["w8"]\n[against]\nmodel = "other"\nonnx = ["w8"]\n')
    budget = load_budget(load_spec(folder))
    assert budget.against == "other"
    assert budget.stands_in("onnx", "w8") and not budget.stands_in("onnx", "float32")
    assert not budget.stands_in("tfjs", "w8")
    text = (other / "model.toml").read_text()
    (other / "model.toml").write_text(text.replace("sizes = [[8, 6], [6, 8]]", "sizes = [[8, 8]]"))
    with pytest.raises(StageError, match="other has other inputs, another size or other judged outputs than small"):
        load_budget(load_spec(folder))


def test_a_ceiling_also_binds_rows_for_every_output(write_model: WriteModel) -> None:
    """A limit of "*" above a ceiling is not an error, because other outputs may need it. The ceiling still applies."""
    text = row("float32", "*", "max_abs", 1e-2)
    budget = load_budget(load_spec(write_model(files={"budget.toml": text})))
    assert budget.limits_for("onnx", "float32", "alpha", False)["max_abs"] == 1e-4


def test_the_portraits_budget(root: Path) -> None:
    budget = load_budget(load_spec(root / "models/portrait"))
    for target in TARGETS:
        assert {"float32", "float16"} <= set(budget.ship[target])
    assert "w8" in budget.ship["coreml"]
    assert "w8" in budget.ship["litert"]
    assert budget.limits_for("tfjs", "float32", "depth", False)["max_abs"] <= 1e-4
    assert budget.limits_for("onnx", "w8", "alpha", False)["iou"] >= 0.990
    assert budget.limits_for("onnx", "w8", "depth", False)["order_flips"] <= 0.015
    assert all(len(row.reason) > 10 for row in budget.limits)


def test_a_ceiling_cannot_be_dodged_by_a_missing_judge(write_model: WriteModel) -> None:
    spec = load_spec(write_model(('judge = "alpha-matte"\n', "")))
    assert load_budget(spec).limits_for("onnx", "float32", "alpha", False) == {"err_sens": 1e-3}
    with pytest.raises(StageError, match="'metric' is 'iou'"):
        load_budget(
            load_spec(
                write_model(('judge = "alpha-matte"\n', ""), files={"budget.toml": row("w8", "alpha", "iou", 0.5)})
            )
        )
