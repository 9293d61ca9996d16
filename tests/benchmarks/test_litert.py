"""The LiteRT runtime: the outputs of real artifacts, delegation, and the files that it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evidence.size import Delegated
from benchmarks.runtime import run
from benchmarks.runtimes.litert import LiteRTRuntime, delegation
from hydramobile.artifact import Entry, read_artifact
from hydramobile.errors import StageError

Artifact = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, np.ndarray]]


def first(folder: Path, name: str) -> Entry:
    return read_artifact(folder).entry(name)


@pytest.mark.parametrize("entry", ["encoder", "depth", "segmentation", "portrait"])
def test_portrait_float32(artifact: Artifact, golden: Golden, entry: str) -> None:
    folder, tensors = artifact("portrait", "litert", "float32"), golden("portrait")
    found = run(LiteRTRuntime().open(folder, first(folder, entry)), tensors)
    for name, value in found.items():
        assert value.shape == tensors[name].shape
        # Features reach 60 and are judged relative to their peak. Maps are in [0, 1].
        limit = 1e-4 if name in ("depth", "alpha") else 1e-5 * float(np.abs(tensors[name]).max())
        assert np.abs(value - tensors[name]).max() <= limit, name


@pytest.mark.parametrize(("recipe", "mean", "iou"), [("float16", 1e-3, 0.998), ("w8", 0.02, 0.99)])
def test_portrait_smaller_recipes(artifact: Artifact, golden: Golden, recipe: str, mean: float, iou: float) -> None:
    folder, tensors = artifact("portrait", "litert", recipe), golden("portrait")
    found = run(LiteRTRuntime().open(folder, first(folder, "portrait")), tensors)
    for name, value in found.items():
        assert np.abs(value - tensors[name]).mean() <= mean, name
    ours, theirs = found["alpha"] > 0.5, tensors["alpha"] > 0.5
    assert (ours & theirs).sum() / (ours | theirs).sum() >= iou


@pytest.mark.parametrize("recipe", ["float32", "float16", "w8"])
def test_encoder_and_heads_equal_the_fused_signature(artifact: Artifact, golden: Golden, recipe: str) -> None:
    folder, tensors = artifact("portrait", "litert", recipe), golden("portrait")
    runtime = LiteRTRuntime()
    features = run(runtime.open(folder, first(folder, "encoder")), tensors)
    fused = run(runtime.open(folder, first(folder, "portrait")), tensors)
    for head, name in (("depth", "depth"), ("segmentation", "alpha")):
        alone = run(runtime.open(folder, first(folder, head)), features)
        np.testing.assert_array_equal(alone[name], fused[name])


def test_classifier_float32(artifact: Artifact, golden: Golden) -> None:
    folder, tensors = artifact("classifier", "litert", "float32"), golden("classifier")
    entry = read_artifact(folder).entries[0]
    for name, value in run(LiteRTRuntime().open(folder, entry), tensors).items():
        assert np.abs(value - tensors[name]).max() <= 1e-4 * max(1.0, float(np.abs(tensors[name]).max()))


def test_dtypes_are_read_from_the_file(artifact: Artifact) -> None:
    runtime = LiteRTRuntime()
    for recipe, kind, least in (("float32", "float32", 1.0), ("float16", "float16", 0.97), ("w8", "int8", 0.9)):
        folder = artifact("portrait", "litert", recipe)
        found = runtime.read_dtypes(folder, first(folder, "encoder"))
        assert found[kind] >= least * sum(found.values()), recipe


def test_delegation(artifact: Artifact) -> None:
    folder = artifact("portrait", "litert", "float32")
    assert delegation(folder, first(folder, "encoder")) == Delegated(ops=64, delegated=64, partitions=1)
    # XNNPACK takes neither the four nearest resizes nor RELU_0_TO_1 (the clamp at the end).
    head = delegation(folder, first(folder, "depth"))
    assert head.ops - head.delegated == 5
    assert head.partitions == 5


def test_results_are_copies(artifact: Artifact, golden: Golden) -> None:
    folder, tensors = artifact("classifier", "litert", "float32"), golden("classifier")
    entry = read_artifact(folder).entries[0]
    session = LiteRTRuntime().open(folder, entry)
    before = run(session, tensors)
    kept = {name: value.copy() for name, value in before.items()}
    run(session, {port.name: np.zeros_like(tensors[port.name]) for port in entry.inputs})
    for name, value in before.items():
        np.testing.assert_array_equal(value, kept[name])


def test_errors_name_an_unknown_signature_or_tensor(artifact: Artifact) -> None:
    folder = artifact("portrait", "litert", "float32")
    entry = first(folder, "depth")
    with pytest.raises(StageError, match=r"no signature 'nose' \(has: encoder, depth, segmentation, portrait\)"):
        LiteRTRuntime().open(folder, replace(entry, function="nose"))
    wrong = replace(entry, outputs=(replace(entry.outputs[0], file_name="height"),))
    with pytest.raises(StageError, match=r"no tensor 'height' in its outputs \(depth\)"):
        LiteRTRuntime().open(folder, wrong)
    with pytest.raises(StageError, match="no signature 'nose'"):
        LiteRTRuntime().read_dtypes(folder, replace(entry, function="nose"))


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "half"])
def test_errors_name_a_broken_file(artifact: Artifact, tmp_path: Path, damage: str) -> None:
    source = artifact("classifier", "litert", "float32")
    entry = read_artifact(source).entries[0]
    shutil.copy(source / entry.file, tmp_path / entry.file)
    data = (tmp_path / entry.file).read_bytes()
    if damage == "missing":
        (tmp_path / entry.file).unlink()
    else:
        content = {"empty": b"", "text": b"this is not a model", "half": data[: len(data) // 2]}[damage]
        (tmp_path / entry.file).write_bytes(content)
    with pytest.raises(StageError, match=entry.file):
        LiteRTRuntime().open(tmp_path, entry)
    with pytest.raises(StageError, match=entry.file):
        LiteRTRuntime().read_dtypes(tmp_path, entry)


def test_a_flipped_block_of_weights_changes_the_outputs(artifact: Artifact, golden: Golden, tmp_path: Path) -> None:
    source, tensors = artifact("portrait", "litert", "float32"), golden("portrait")
    entry = first(source, "portrait")
    data = bytearray((source / entry.file).read_bytes())
    start = len(data) // 2
    data[start : start + 4096] = bytes(byte ^ 0x08 for byte in data[start : start + 4096])
    (tmp_path / entry.file).write_bytes(bytes(data))
    found = run(LiteRTRuntime().open(tmp_path, entry), tensors)
    assert max(float(np.nanmax(np.abs(found[name] - tensors[name]))) for name in found) > 1e-4
