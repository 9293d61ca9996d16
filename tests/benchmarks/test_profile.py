"""Profiles by operator: real ones of both runtimes that have a profiler, and what is refused."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evidence.envelope import read
from benchmarks.evidence.profile import OpTime, ProfileEvidence
from benchmarks.profile.run import by_kind, conclude_profile, run_profile
from benchmarks.request import Request
from benchmarks.runtimes.litert import profile as litert_profile
from benchmarks.runtimes.onnxruntime import kernel_times
from hydramobile.errors import NothingJudged, StageError
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]


@pytest.fixture
def request_of(
    artifact: Artifacts, build: Callable[[str], Path], model_dir: Callable[[str], Path], tmp_path: Path
) -> Callable[..., Request]:
    def make(model: str, *pairs: tuple[str, str]) -> Request:
        shutil.copytree(build(model), tmp_path / "out")
        for target, recipe in pairs:
            shutil.copytree(artifact(model, target, recipe), tmp_path / "out" / model / target / recipe)
        return Request(load_spec(model_dir(model)), tmp_path / "out", only=pairs)

    return make


def test_both_runtimes_that_can(request_of: Callable[..., Request]) -> None:
    """Every entry, operators with times that add up; runtimes without a profiler say so."""
    request = request_of("mixed", ("onnx", "float32"), ("litert", "float32"), ("coreml", "float32"))
    evidence = run_profile(request)
    found = {row.runtime: row for row in evidence.results}
    assert {name for name, row in found.items() if row.verdict == "measured"} == {"onnxruntime", "litert"}
    assert found["coreml-mil"].verdict == "unavailable"
    assert found["coreml-mil"].reason == "coreml-mil offers no profile by operator"
    for name in ("onnxruntime", "litert"):
        assert found[name].evidence == "host"
        entries = {entry.entry: entry for entry in found[name].entries}
        assert set(entries) == {"stem", "mixer", "paint", "whole"} or len(entries) >= 3
        for entry in entries.values():
            assert entry.ms > 0 and len(entry.ops) > 1
            assert sum(kind.ms for kind in entry.kinds) == pytest.approx(entry.ms, rel=0.02, abs=0.01)
            assert sum(kind.share for kind in entry.kinds) == pytest.approx(1, abs=0.01)
    kernels = {kind.kind for entry in found["onnxruntime"].entries for kind in entry.kinds}
    assert any("Conv" in kernel for kernel in kernels)
    assert "2 artifacts profiled" in conclude_profile(evidence)
    assert read(ProfileEvidence, request.root / "profile.json") == evidence


def test_a_broken_file_is_told(request_of: Callable[..., Request]) -> None:
    request = request_of("classifier", ("litert", "float32"))
    (request.root / "litert/float32/classifier.tflite").write_bytes(b"no net")
    evidence = run_profile(request)
    with pytest.raises(StageError, match="litert float32"):
        conclude_profile(evidence)


def test_nothing_to_profile(request_of: Callable[..., Request]) -> None:
    evidence = run_profile(request_of("classifier", ("coreml", "float32")))
    with pytest.raises(NothingJudged, match="no profile by operator"):
        conclude_profile(evidence)


def test_another_version_of_the_c_api_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.4.0")
    assert litert_profile.no_profile() == (
        "the profiler is reached through the C API of ai-edge-litert 2.3.x; this is 2.4.0"
    )


SUMMARY = """
===== Run Order =====
   [node type]    [start]    [first]   [avg ms]        [%]     [cdf%]   [mem KB] [times called]   [Name]
   Delegate/Fully Connected (NC, F32) GEMM      0.000      0.003      0.292    23.787%    23.947%      0.000  50  [D]:2
   RELU_0_TO_1      5.328      0.029      0.032     0.529%   100.000%      0.000             10   [Builtin]:41

===== Top by Computation Time =====
   RELU_0_TO_1      5.328      0.029      0.032     0.529%   100.000%      0.000             10   [Builtin]:41
"""


def test_the_summary_is_read() -> None:
    assert litert_profile.parse(SUMMARY, runs=10) == [
        OpTime("Fully Connected (NC, F32) GEMM", "[D]:2", 1.46, 5.0),
        OpTime("RELU_0_TO_1", "[Builtin]:41", 0.032, 1.0),
    ]


@pytest.mark.parametrize("text", ["", "something else", "==== Run Order ====\n[node type]\n\n"])
def test_another_summary_is_refused(text: str) -> None:
    with pytest.raises(StageError, match="LiteRT's profile"):
        litert_profile.parse(text, 10)


def test_kernels_of_a_trace() -> None:
    def event(name: str, dur: float, **args: Any) -> dict[str, Any]:
        return {"cat": "Node", "name": name, "dur": dur, "args": args}

    trace: list[dict[str, Any]] = [{"cat": "Session", "name": "model_run", "dur": 9, "args": {}}]
    # A slow first run that does not count.
    for slow in (100, 1, 3):
        trace += [event("a_kernel_time", 1000 * slow, op_name="Conv"), event("a_fence_before", 5, op_name="Conv")]
        trace += [event("b_kernel_time", 2000, op_name="Add")]
    assert kernel_times(trace, runs=2) == [OpTime("Conv", "a", 2.0, 1.0), OpTime("Add", "b", 2.0, 1.0)]
    with pytest.raises(StageError, match="names no kernel"):
        kernel_times([], 2)


def test_kinds_by_cost() -> None:
    rows = by_kind([OpTime("Conv", "a", 1.0, 1), OpTime("Add", "b", 5.0, 2), OpTime("Conv", "c", 2.0, 1)])
    assert [(row.kind, row.ms, row.share, row.calls, row.slowest) for row in rows] == [
        ("Add", 5.0, 0.625, 2, "b"),
        ("Conv", 3.0, 0.375, 2, "c"),
    ]
