"""Times come from fresh processes, keep their samples, and never mix machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.latency import run as latency
from benchmarks.latency.run import Timing, conclude_latency, run_latency
from benchmarks.request import Request
from benchmarks.runtimes.onnxruntime import OnnxRuntime
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.spec import load_spec

QUICK = Timing(seconds=0.2)


@pytest.fixture
def request_onnx(
    artifact: Callable[[str, str, str], Path],
    build: Callable[[str], Path],
    model_dir: Callable[[str], Path],
    tmp_path: Path,
) -> Request:
    """The portrait's ONNX float32 artifact and goldens, in a folder of the test's own."""
    shutil.copytree(build("portrait"), tmp_path, dirs_exist_ok=True)
    shutil.copytree(artifact("portrait", "onnx", "float32"), tmp_path / "portrait/onnx/float32")
    return Request(load_spec(model_dir("portrait")), tmp_path, runtimes=("onnxruntime",))


def test_an_artifact_and_the_reference(request_onnx: Request) -> None:
    both = Request(request_onnx.spec, request_onnx.out, runtimes=("onnxruntime", "pytorch"))

    evidence = run_latency(both, QUICK)

    reference, row = evidence.results
    assert (reference.target, reference.runtime) == ("", "pytorch")
    assert (row.target, row.runtime, row.verdict, row.threads) == ("onnx", "onnxruntime", "measured", 1)
    assert row.evidence == "host"
    assert [entry.entry for entry in row.entries] == ["encoder", "depth", "segmentation", "portrait"]
    for entry in row.entries:
        assert 0 < entry.min_ms <= entry.p50_ms <= entry.p90_ms <= entry.p99_ms
        assert len(entry.samples_us) == min(entry.runs, 2000)
        assert entry.load_s > 0
        assert entry.first_s > 0
        assert entry.warm_up.runs > 0
    ratios = {(ratio.kind, ratio.entry, ratio.to): ratio for ratio in row.ratios}
    assert set(ratios) == {
        ("encoder", "encoder", "portrait"),
        ("rerun", "depth", "portrait"),
        ("rerun", "segmentation", "portrait"),
        ("reference", "portrait", "portrait"),
    }
    # A head is far less work than everything, whatever else the machine does.
    assert 0.02 < ratios["rerun", "depth", "portrait"].value < 0.6
    assert row.memory.peak and row.memory.baseline and row.memory.peak > row.memory.baseline > 0
    assert row.load is not None
    assert evidence.machine and evidence.machine.processor
    assert "1 artifacts timed" in conclude_latency(evidence)


def test_rows_of_another_machine_are_dropped(request_onnx: Request) -> None:
    run_latency(request_onnx, QUICK)
    path = request_onnx.root / "latency.json"
    document = json.loads(path.read_text())
    document["machine"]["processor"] = "Other 9000"
    document["results"][0]["recipe"] = "float16"
    path.write_text(json.dumps(document))

    renewed = run_latency(request_onnx, QUICK)

    assert [row.recipe for row in renewed.results] == ["float32"]
    assert "another machine (Other 9000)" in renewed.notes[0]


def test_what_is_not_timed_says_why(request_onnx: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "timed", False)
    untimed = run_latency(request_onnx, QUICK)
    assert untimed.results[0].verdict == "untimed"
    assert "says nothing" in untimed.results[0].reason
    with pytest.raises(NothingJudged):
        conclude_latency(untimed)

    monkeypatch.setattr(OnnxRuntime, "timed", True)
    monkeypatch.setattr(OnnxRuntime, "unavailable", lambda self: "not on this planet")
    absent = run_latency(request_onnx, QUICK)
    assert absent.results[0].verdict == "unavailable"
    assert absent.results[0].reason == "not on this planet"


def test_a_worker_that_dies_costs_its_row(request_onnx: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "HANG_LIMIT", 0.01)

    evidence = run_latency(request_onnx, QUICK)

    assert evidence.results[0].verdict == "failed"
    with pytest.raises(StageError, match="no progress"):
        conclude_latency(evidence)


def test_a_changed_file_is_not_timed(request_onnx: Request) -> None:
    victim = request_onnx.root / "onnx/float32/depth.onnx"
    victim.write_bytes(victim.read_bytes()[:-1])

    row = run_latency(request_onnx, QUICK).results[0]

    assert (row.verdict, row.stage) == ("failed", "seal")
    assert "depth.onnx" in row.reason


def test_bad_requests(request_onnx: Request) -> None:
    with pytest.raises(UsageError, match="--seconds"):
        Timing(seconds=0)
    with pytest.raises(UsageError, match="--threads"):
        Timing(threads=0)
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        run_latency(Request(request_onnx.spec, request_onnx.out, runtimes=("onxruntime",)), QUICK)
    shutil.rmtree(request_onnx.root / "goldens")
    (request_onnx.root / "goldens").mkdir()
    with pytest.raises(StageError, match="make goldens"):
        run_latency(request_onnx, QUICK)
