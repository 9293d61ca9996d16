"""A third head on the portrait's encoder does not change a byte of the files of the others.

The exceptions are the containers, which hold the new head too: Core ML's multifunction package and LiteRT's file of
several signatures. In the latter, the graphs of the other entries stay the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from export.driver import export
from export.targets.litert import flatbuffer
from hydramobile.artifact import artifact_folder, list_files, read_artifact
from hydramobile.budget import load_budget
from hydramobile.files import sha256_file
from hydramobile.recipes import GRAMMAR
from hydramobile.spec import ModelSpec, load_spec
from hydramobile.targets import TARGETS

Artifacts = Callable[[str, str, str], Path]
FACTORY = """
from reference.hydra import SegmentationHead
from reference.portrait import build as build_portrait


def build():
    return {**build_portrait(), "skin": SegmentationHead().eval()}
"""
MODULE = """
[modules.skin]
inputs = ["f2", "f4", "f8", "f16", "f32"]
outputs = ["skin"]
description = "A head of another team"

[entries.portrait]
"""


@pytest.fixture
def with_a_third_head(own_model: Callable[..., Path]) -> ModelSpec:
    """Write the portrait with one more head: a copy of the segmentation head with doubled weights."""
    folder = own_model("portrait", {"[entries.portrait]\n": MODULE.lstrip()})
    (folder / "net.py").write_text(FACTORY)
    weights = load_file(folder / "weights.safetensors")
    twins = {f"skin.{name.partition('.')[2]}": value for name, value in weights.items() if name.startswith("segm")}
    save_file(weights | {name: value * 2 for name, value in twins.items()}, folder / "weights.safetensors")
    text = (folder / "model.toml").read_text()
    old = load_spec(Path("models/portrait")).weights_sha256
    text = text.replace("reference.portrait:build", f"{folder.name}.net:build")
    text = text.replace(old, sha256_file(folder / "weights.safetensors"))
    (folder / "model.toml").write_text(text)
    return load_spec(folder)


SLOW = pytest.mark.slow
# All recipes of a target take minutes, and of ONNX the named ones alone.
CASES = [
    ("onnx", "named"),
    *((target, "float32") for target in TARGETS if target != "onnx"),
    *(pytest.param(target, "all", marks=(SLOW, pytest.mark.timeout(1800))) for target in TARGETS),
]


@pytest.mark.parametrize(("target", "which"), CASES)
def test_the_old_files_stay(
    with_a_third_head: ModelSpec,
    artifact: Artifacts,
    model_dir: Callable[[str], Path],
    tmp_path: Path,
    target: str,
    which: str,
) -> None:
    recipes = load_budget(load_spec(model_dir("portrait"))).recipes(target)
    if which != "all":
        recipes = tuple(name for name in recipes if GRAMMAR.fullmatch(name) and (which == "named" or name == which))
    export(with_a_third_head, [target], recipes, tmp_path, overwrite=False)
    for recipe in recipes:
        old, new = artifact("portrait", target, recipe), artifact_folder(tmp_path, "portrait", target, recipe)
        assert {entry.name for entry in read_artifact(new).entries} == {*OLD, "skin"}
        found = {file.path: file.sha256 for file in list_files(new)}
        kept = {file.path: file.sha256 for file in list_files(old) if belongs(file.path)}
        if target == "litert":
            assert graphs(old) == {name: content for name, content in graphs(new).items() if name in OLD}
        else:
            assert len(kept) >= len(OLD)
        assert {path: found.get(path) for path in kept} == kept


OLD = ("encoder", "depth", "segmentation", "portrait")


def belongs(path: str) -> bool:
    """Return whether a file holds old entries only: it, or a folder above it, is named after one."""
    container = path.startswith(("portrait.mlpackage/", "portrait.tflite"))
    return not container and any(part.partition(".")[0] in OLD for part in Path(path).parts)


def graphs(folder: Path) -> dict[str, bytes]:
    """Return every signature of a .tflite file as a file of its own."""
    data = (folder / "portrait.tflite").read_bytes()
    names = [flatbuffer.text(item.signatureKey) for item in flatbuffer.parse(data).signatureDefs]
    whole = [flatbuffer.parse(data) for _ in names]
    for model in whole:
        # Metadata describes the whole file, not one graph.
        model.metadata, model.metadataBuffer = [], []
    alone = {
        name: flatbuffer.compact(flatbuffer.extract_signature(model, name))
        for name, model in zip(names, whole, strict=True)
    }
    return {name: flatbuffer.serialize(model) for name, model in alone.items()}
