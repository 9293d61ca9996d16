"""Two exports on the same machine with the same tools give the same bytes: common recipes and static int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.driver import export
from hydramobile.artifact import artifact_folder, list_files
from hydramobile.recipes import COMMON
from hydramobile.spec import load_spec
from hydramobile.targets import TARGETS

STATIC = ("onnx", "coreml", "litert")
# A file of every target that must be among those compared.
NAMED = {"coreml": "Manifest.json", "tfjs": "model.json", "litert": ".tflite", "onnx": ".onnx"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", ["mixed", pytest.param("portrait", marks=pytest.mark.slow)])
def test_twice_the_same(
    artifact: Callable[[str, str, str], Path], model_dir: Callable[[str], Path], tmp_path: Path, target: str, model: str
) -> None:
    recipes = (*COMMON, *(("w8a8",) if target in STATIC else ()))
    export(load_spec(model_dir(model)), [target], recipes, tmp_path, overwrite=False)
    for recipe in recipes:
        first = list_files(artifact(model, target, recipe))
        assert list_files(artifact_folder(tmp_path, model, target, recipe)) == first
        assert any(file.path.endswith(NAMED[target]) for file in first)
