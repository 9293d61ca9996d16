"""Named recipes: layers are found by name in every target's file, which computes with the values of their recipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.driver import export, plan_export
from export.program import Program, calibrate, capture
from export.quantize.gptq import output_error, round_to_grid
from export.quantize.grids import k_means, palette_grid, round_float16, round_symmetric, symmetric_grid
from export.quantize.layers import find_layers, layer_recipes
from export.quantize.plan import build_plan
from export.target import Emitted, load_storage, load_target
from hydramobile.artifact import artifact_folder, read_artifact
from hydramobile.errors import StageError, UsageError
from hydramobile.recipe_files import find_recipe, read_named, resolve_only
from hydramobile.recipes import Recipe
from hydramobile.samples import load_samples, sample_inputs
from hydramobile.spec import load_spec
from hydramobile.targets import TARGETS
from support.emit import run_sealed

ModelDir = Callable[[str], Path]
RECIPES = """
[recipes.mix]
description = "some of everything"
base = "w8"
layers = { "*.layers.0" = "w4", "*.7" = "float16", "classifier.head.0" = "w4", "*.reduce" = "float16" }
[recipes.mix.coreml]
base = "w8"
layers = { "*.layers.0" = "p4g8", "*.7" = "p6", "classifier.head.0" = "w4", "*.reduce" = "p4" }
[recipes.mix.tfjs]
base = "w8"
layers = { "*.layers.0" = "w16", "*.7" = "float16" }
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(RECIPES)
    return path


@pytest.fixture(scope="module")
def program(model_dir: ModelDir) -> Program:
    spec = load_spec(model_dir("classifier"))
    return calibrate(capture(spec), load_samples(spec, "calibrate"))


def decoded_net(program: Program, target: str, chosen: Recipe) -> Any:
    """Return the net with the weights that a reader of the target's file must decode."""
    storage = load_storage(target)
    plan = build_plan(program, chosen, target, storage)
    for row in plan.rows.values():
        value = storage.decode_layer(row.layer, row.recipe, None) if row.decoded is None else row.decoded
        getattr(row.layer.owner, row.layer.key).data.copy_(torch.from_numpy(value))
    return program.modules["classifier"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_file_computes_with_the_planned_values(
    model_dir: ModelDir, recipes: Path, tmp_path: Path, target: str
) -> None:
    spec = load_spec(model_dir("classifier"))
    (outcome,) = export(spec, [target], [f"{recipes}:mix"], tmp_path, overwrite=False)
    assert outcome.state == "exported", outcome.reason
    folder = artifact_folder(tmp_path, "classifier", target, "mix")
    artifact = read_artifact(folder)
    assert artifact.layers["classifier.head.0"]["values"] == 64 * 96
    own = calibrate(capture(spec), load_samples(spec, "calibrate"))
    net = decoded_net(own, target, find_recipe(spec, target, f"{recipes}:mix"))
    float_net = capture(spec).modules["classifier"]
    for sample in load_samples(spec, "judge")[:2]:
        inputs = sample_inputs(spec, sample, spec.size)
        image = torch.from_numpy(np.asarray(inputs["image"]))
        wanted, before = net(image).numpy(), float_net(image).numpy()
        found = run_sealed(folder, "classifier", inputs)["scores"]
        moved = float(np.abs(wanted - before).max())
        # Core ML computes in float16, which alone is worth 3e-3 of these scores; others differ by the order of sums.
        assert moved > 5e-3
        assert float(np.abs(found - wanted).max()) < (5e-3 if target == "coreml" else 1e-3 * moved)


def test_a_pattern_that_matches_nothing(program: Program) -> None:
    chosen = Recipe("mine", "mixed", 4, base="w8", layers=(("classifier.heads.*", "w4"),))
    with pytest.raises(StageError, match=r"'classifier\.heads\.\*' matches no layer; did you mean 'classifier\.head"):
        layer_recipes(find_layers(program), chosen, 0, "onnx")


def test_a_scheme_that_the_target_lacks(program: Program) -> None:
    chosen = Recipe("mine", "mixed", 4, base="w8", layers=(("classifier.head.0", "p4"),))
    with pytest.raises(StageError, match=r"classifier\.head\.0 as p4: an ONNX layer is"):
        build_plan(program, chosen, "onnx", load_storage("onnx"))
    chosen = Recipe("mine", "mixed", 4, base="w8", layers=(("classifier.head.3", "p4g8"),))
    with pytest.raises(StageError, match="10 channels do not divide into groups of 8"):
        build_plan(program, chosen, "coreml", load_storage("coreml"))


def test_the_last_pattern_decides(program: Program) -> None:
    layers = find_layers(program)
    chosen = Recipe("mine", "mixed", 4, base="w8", layers=(("*", "w4"), ("classifier.head.*", "float16")))
    found = layer_recipes(layers, chosen, 1000, "onnx")
    assert found["classifier.head.0"].name == "float16"
    assert found["classifier.features.0"].name == "w4"
    kept = layer_recipes(layers, Recipe("mine", "mixed", 8, base="w8"), 1000, "onnx")
    assert kept["classifier.features.0"].name == "float32"
    assert kept["classifier.features.7"].name == "w8"


BAD = {
    '[recipes.w8]\nbase = "w8"': "a recipe of the grammar already",
    '[recipes.x]\nbase = "w9"': "no recipe 'w9'",
    '[recipes.x]\nbase = "w8a8"': "computes in integers",
    '[recipes.x]\nlayers = { "*" = "w8" }': "no 'base'",
    '[recipes.x]\nbase = "w8"\nbits = 4': "unknown key 'bits'",
    "[recipes.x]\n": "neither a 'base'",
    "[recipes": "not readable TOML",
    "": "'recipes' is missing",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipes.toml"
    path.write_text(text)
    with pytest.raises(StageError, match=BAD[text]):
        read_named(path)


def test_an_undefined_name(model_dir: ModelDir, recipes: Path) -> None:
    spec = load_spec(model_dir("classifier"))
    with pytest.raises(UsageError, match=r"no recipe 'mixed'.*available: .*mix"):
        find_recipe(spec, "onnx", f"{recipes}:mixed")
    with pytest.raises(UsageError, match=r"no recipes at nowhere\.toml"):
        find_recipe(spec, "onnx", "nowhere.toml:mix")
    with pytest.raises(UsageError, match="no recipe 'mix'"):
        find_recipe(spec, "onnx", "mix")


def test_recipes_of_a_file_are_judged_alone(model_dir: ModelDir, recipes: Path) -> None:
    """`--only` of the benchmarks takes FILE:NAME: an artifact's folder has the recipe's name, whatever its file."""
    spec = load_spec(model_dir("classifier"))
    asked = resolve_only(spec, [f"onnx/{recipes}:mix", "web/w8", "litert"])
    assert asked == (("onnx", "mix"), ("onnx", "w8"), ("tfjs", "w8"), ("litert", ""))
    with pytest.raises(UsageError, match=r"no recipe 'mixed'.*available: .*mix"):
        resolve_only(spec, [f"onnx/{recipes}:mixed"])
    with pytest.raises(UsageError, match="no recipe 'mix'"):
        resolve_only(spec, ["onnx/mix"])


def test_a_recipe_with_weights_of_its_own(model_dir: ModelDir, tmp_path: Path) -> None:
    """The file holds the recipe's weights, rounded; it is judged against the model's, and a note names the weights."""
    spec = load_spec(model_dir("classifier"))
    given = load_file(spec.folder / spec.weights_path)
    other = {key: value * 1.25 if key == "classifier.head.0.weight" else value for key, value in given.items()}
    save_file(other, tmp_path / "other.safetensors")
    path = tmp_path / "own.toml"
    path.write_text('[recipes.tuned]\nbase = "w8"\nweights = "other.safetensors"\n[recipes.plain]\nbase = "w8"\n')
    names = [f"{path}:tuned", f"{path}:plain"]
    outcomes = export(spec, ["onnx"], names, tmp_path / "out", overwrite=False)
    assert [outcome.state for outcome in outcomes] == ["exported", "exported"], outcomes
    folders = [artifact_folder(tmp_path / "out", "classifier", "onnx", name) for name in ("tuned", "plain")]
    tuned, plain = (read_artifact(folder) for folder in folders)
    assert tuned.weights_sha256 == plain.weights_sha256 == spec.weights_sha256
    assert any(note.startswith("weights of its own, other.safetensors (sha256") for note in tuned.notes)
    assert not any("weights of its own" in note for note in plain.notes)
    weight = next(
        w for w in load_target("onnx").read_weights(folders[0], Emitted(tuned.entries, {})) if w.values.size == 64 * 96
    )
    wanted = round_symmetric(other["classifier.head.0.weight"].numpy().astype(float), 8)
    assert np.allclose(np.sort(np.asarray(weight.values).ravel()), np.sort(wanted.ravel()), atol=1e-5)
    # Exported again it is up to date; with other weights in the file it is not.
    assert {outcome.state for outcome in export(spec, ["onnx"], names, tmp_path / "out", True)} == {"up to date"}
    save_file(
        {**other, "classifier.head.0.weight": given["classifier.head.0.weight"] * 1.5}, tmp_path / "other.safetensors"
    )
    states = {
        outcome.recipe: outcome.state for outcome in plan_export(spec, ["onnx"], names, tmp_path / "out", True).resolved
    }
    assert states == {names[1]: "up to date"}


@pytest.mark.parametrize("weights", ["/etc/hostname", "../other.safetensors", "sub/../../other.safetensors"])
def test_weights_lie_beside_their_recipes(model_dir: ModelDir, tmp_path: Path, weights: str) -> None:
    """A recipes file of somebody else opens nothing else of the machine that exports it."""
    path = tmp_path / "own.toml"
    path.write_text(f'[recipes.tuned]\nbase = "w8"\nweights = "{weights}"\n')
    with pytest.raises(StageError, match="must be relative and stay inside"):
        export(load_spec(model_dir("classifier")), ["onnx"], [f"{path}:tuned"], tmp_path / "out", overwrite=False)


def test_weights_that_do_not_fit(model_dir: ModelDir, tmp_path: Path) -> None:
    spec = load_spec(model_dir("classifier"))
    path, given = tmp_path / "own.toml", load_file(spec.folder / spec.weights_path)
    key = "classifier.head.0.weight"
    bad = {
        "shape": ({**given, key: given[key][:3]}, "does not fit module 'classifier'"),
        "keys": ({name: value for name, value in given.items() if name != key}, "does not fit module 'classifier'"),
        "module": ({**given, "head.weight": given[key].clone()}, "'head.weight' belongs to no module"),
        "nan": ({**given, key: given[key] * float("nan")}, f"{key} holds NaN"),
    }
    for name, (tensors, reason) in bad.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        with pytest.raises(StageError, match=reason):
            capture(spec, weights=tmp_path / f"{name}.safetensors")
    path.write_text('[recipes.none]\nbase = "w8"\nweights = "none.safetensors"\n')
    with pytest.raises(StageError, match=r"'none' has weights of its own, and there is no file .*none\.safetensors"):
        find_recipe(spec, "onnx", f"{path}:none")


def test_litert_has_no_four_bit_depthwise_kernels(program: Program) -> None:
    """Asked for them, its quantizer leaves the weights in float32 without an error."""
    name = next(name for name, layer in find_layers(program).items() if layer.depthwise)
    asked = Recipe("deep", "mixed", 4, base="w8", layers=((name, "w4"),))
    with pytest.raises(StageError, match=rf"'deep': {name} as w4: LiteRT has depthwise kernels of .* 8 bits \(w8\)"):
        build_plan(program, asked, "litert", load_storage("litert"))
    wider = Recipe("deep", "mixed", 8, base="w8", layers=((name, "w8"),))
    assert build_plan(program, wider, "litert", load_storage("litert")).rows[name].recipe.name == "w8"


def test_k_means_finds_separate_clusters() -> None:
    rng = np.random.default_rng(1)
    centers = np.array([-3.0, -1.0, 0.5, 4.0])
    values = np.concatenate([center + rng.normal(0, 0.01, 200) for center in centers])
    assert np.abs(k_means(values, np.ones_like(values), 4) - centers).max() < 0.01
    assert np.array_equal(k_means(np.array([2.0, 1.0]), np.ones(2), 4), [1.0, 2.0, 2.0, 2.0])


def test_rounding_with_data_moves_outputs_less() -> None:
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(32, 64))
    inputs = np.maximum(rng.normal(size=(500, 8)) @ rng.normal(size=(8, 64)) + 0.5, 0)
    gram = inputs.T @ inputs
    for grid in (symmetric_grid(weights, 4, np.diag(gram)), palette_grid(weights, 4, 8, np.diag(gram))):
        plain, better = round_to_grid(weights, grid, None), round_to_grid(weights, grid, gram)
        assert output_error(weights, better, gram) < 0.5 * output_error(weights, plain, gram)
        assert all(set(row) <= set(own) for row, own in zip(better, grid, strict=True))


def test_channels_of_different_range_share_a_palette() -> None:
    """The largest weight of a small channel moves little, and not to the end of the palette that it shares."""
    rng = np.random.default_rng(4)
    weights, inputs = rng.normal(size=(8, 48)), rng.normal(size=(400, 48))
    weights[1] *= 0.1
    made = round_to_grid(weights, palette_grid(weights, 6, 8, None), inputs.T @ inputs)
    assert np.abs(made - weights).max() < 0.5
    assert np.abs(made[1]).max() < 0.5


def test_values_on_a_grid_come_back_the_same() -> None:
    """A target's own quantizer does not move weights that lie on its grid already."""
    rng = np.random.default_rng(3)
    weights, inputs = rng.normal(size=(16, 40)), rng.normal(size=(200, 40))
    gram = inputs.T @ inputs
    rounded = round_to_grid(weights, symmetric_grid(weights, 4, None), gram, pinned=True)
    stored = rounded.astype(np.float32).astype(np.float64)
    assert np.abs(round_symmetric(stored, 4) - stored).max() < 1e-6
    assert np.array_equal(round_float16(round_float16(weights)), round_float16(weights))
