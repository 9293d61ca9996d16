"""Qualcomm's NPU simulator where it is installed: numbers and placement; where it is not, how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime import GROUPS, load_runtime, resolve_runtimes, run
from benchmarks.runtimes import qnn
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from support.fixtures import Golden

Artifacts = Callable[[str, str, str], Path]
INSTALLED = pytest.mark.skipif(
    not qnn.PYTHON.is_file(), reason="Qualcomm's simulator is an optional extra; run: scripts/setup.sh qnn"
)


def test_absent_it_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch, artifact: Artifacts) -> None:
    monkeypatch.setattr(qnn, "PYTHON", Path("/nowhere/python"))
    folder = artifact("classifier", "onnx", "float32")
    for name in GROUPS["qnn"]:
        runtime = load_runtime(name)
        assert runtime.unavailable() == "onnxruntime-qnn is not installed; run: scripts/setup.sh qnn"
        with pytest.raises(StageError, match=r"open: onnxruntime-qnn is not installed"):
            runtime.open(folder, read_artifact(folder).entries[0])
    assert not set(GROUPS["qnn"]) & set(resolve_runtimes([]))
    assert resolve_runtimes(["qnn"]) == GROUPS["qnn"]


@INSTALLED
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ort-qnn-v75"])
def test_half_precision_on_the_npu(artifact: Artifacts, golden: Golden, name: str) -> None:
    """Another arithmetic than this computer's, close to it; the placement is told, and no time."""
    folder = artifact("classifier", "onnx", "float16")
    entry = read_artifact(folder).entries[0]
    inputs = {port.name: golden("classifier")[port.name] for port in entry.inputs}
    made = []
    for runtime in (load_runtime(name), load_runtime("onnxruntime")):
        session = runtime.open(folder, entry)
        made.append(run(session, inputs))
        session.close()
    npu = load_runtime(name)
    assert (npu.timed, npu.evidence) == (False, "interpreted")
    for key, value in made[0].items():
        assert np.abs(value - made[1][key]).max() < 0.05 * np.abs(made[1][key]).max()
        assert value.tobytes() != made[1][key].tobytes()


@INSTALLED
def test_placement_and_a_broken_file(artifact: Artifacts, tmp_path: Path) -> None:
    folder = artifact("classifier", "onnx", "float16")
    entry = read_artifact(folder).entries[0]
    runtime: Any = load_runtime("ort-qnn-v75")
    runtime.open(folder, entry).close()
    (placed,) = runtime.environment().placement.values()
    assert placed.partitions >= 1 and placed.npu_operators > 5 * placed.cpu_operators
    (tmp_path / "broken.onnx").write_bytes(b"no net")
    with pytest.raises(StageError, match=r"open: .*broken.onnx on Qualcomm's simulator: .*"):
        runtime.open(tmp_path, replace(entry, file="broken.onnx"))
