"""ONNX Runtime as a runtime: what it computes on real artifacts, and what it says about broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.runtime import load_runtime, run
from models.artifact import read_artifact

Artifacts = Callable[[str, str, str], Path]
Golden = Callable[[str], dict[str, NDArray[np.generic]]]


def test_computes_what_the_reference_computes(artifact: Artifacts, golden: Golden) -> None:
    folder, tensors = artifact("classifier", "onnx", "float32"), golden("classifier")
    session = load_runtime("onnxruntime").open(folder, read_artifact(folder).entry("classifier"))

    scores = run(session, tensors)["scores"]

    assert scores.shape == (1, 10)
    assert np.ptp(tensors["scores"]) > 1, "the net carries no signal"
    assert np.abs(scores - tensors["scores"]).max() < 1e-4
