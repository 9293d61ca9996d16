"""ONNX Runtime as a runtime: what it computes on real artifacts, and what it says about broken ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtime import load_runtime, run
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from support.fixtures import Golden

Artifacts = Callable[[str, str, str], Path]


def test_computes_what_the_reference_computes(artifact: Artifacts, golden: Golden) -> None:
    folder, tensors = artifact("classifier", "onnx", "float32"), golden("classifier")
    session = load_runtime("onnxruntime").open(folder, read_artifact(folder).entry("classifier"))

    scores = run(session, tensors)["scores"]

    assert scores.shape == (1, 10)
    assert np.ptp(tensors["scores"]) > 1, "the net carries no signal"
    assert np.abs(scores - tensors["scores"]).max() < 1e-4


def test_results_are_copies(artifact: Artifacts, golden: Golden) -> None:
    folder, tensors = artifact("classifier", "onnx", "float32"), golden("classifier")
    session = load_runtime("onnxruntime").open(folder, read_artifact(folder).entry("classifier"))
    first = run(session, tensors)["scores"]
    kept = first.copy()
    run(session, {"image": 1 - tensors["image"]})
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(("recipe", "dtype"), [("float32", "float32"), ("float16", "float16"), ("w8", "int8")])
def test_dtypes_are_read_from_the_file(artifact: Artifacts, recipe: str, dtype: str) -> None:
    folder = artifact("portrait", "onnx", recipe)
    entry = read_artifact(folder).entry("encoder")
    found = load_runtime("onnxruntime").read_dtypes(folder, entry)
    width = {"float32": 4, "float16": 2, "int8": 1}
    assert found[dtype] / width[dtype] > 0.9 * sum(size / width[name] for name, size in found.items() if name in width)


def test_a_file_without_the_tensor(artifact: Artifacts) -> None:
    folder = artifact("classifier", "onnx", "float32")
    entry = read_artifact(folder).entry("classifier")
    wrong = replace(entry, outputs=(replace(entry.outputs[0], file_name="logits"),))
    with pytest.raises(StageError, match=r"has no tensor 'logits' \(has: image, scores\)"):
        load_runtime("onnxruntime").open(folder, wrong)


def test_a_damaged_file(artifact: Artifacts, tmp_path: Path) -> None:
    entry = read_artifact(artifact("classifier", "onnx", "float32")).entry("classifier")
    (tmp_path / entry.file).write_bytes(b"not a graph")
    for act in (load_runtime("onnxruntime").open, load_runtime("onnxruntime").read_dtypes):
        with pytest.raises(StageError, match=r"classifier\.onnx"):
            act(tmp_path, entry)


def test_an_input_of_another_shape(artifact: Artifacts, golden: Golden) -> None:
    folder = artifact("classifier", "onnx", "float32")
    session = load_runtime("onnxruntime").open(folder, read_artifact(folder).entry("classifier"))
    with pytest.raises(StageError, match=r"'image' has shape \[1, 3, 95, 96\], the file wants \[1, 3, 96, 96\]"):
        session.bind({"image": golden("classifier")["image"][:, :, 1:]})
