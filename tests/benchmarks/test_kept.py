"""Verdicts of an earlier run hold while nothing that they depend on changed, and no longer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kept
from benchmarks.evidence.envelope import plain
from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.kept import KeptRows
from benchmarks.parity import run as parity_run
from benchmarks.parity.run import run_parity
from benchmarks.request import Request, select
from benchmarks.size import run_size
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
pytestmark = pytest.mark.usefixtures("counted")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the artifacts that a worker judged, as TARGET/RECIPE, in their order."""
    judged: list[str] = []
    real = parity_run.judge_runtime

    def count(request: Request, job: Any, *more: Any) -> Any:
        judged.extend(f"{built.artifact.target}/{built.artifact.recipe}" for built in job.artifacts)
        return real(request, job, *more)

    monkeypatch.setattr(parity_run, "judge_runtime", count)
    return judged


@pytest.fixture
def request_of(
    artifact: Artifacts, out_with: Callable[..., Path], model_dir: Callable[[str], Path], tmp_path: Path
) -> Request:
    """Return a request for two judged ONNX artifacts of a model whose budget the test may edit."""
    folders = [artifact("classifier", "onnx", recipe) for recipe in ("float32", "w8")]
    out = out_with("classifier", *folders)
    model = tmp_path / "classifier"
    shutil.copytree(model_dir("classifier"), model, ignore=shutil.ignore_patterns("budget.toml", "__pycache__"))
    return Request(load_spec(model), out, runtimes=("onnxruntime",))


def bare(evidence: ParityEvidence) -> Any:
    """Return the rows without the time from which they are kept."""
    return [plain(replace(row, kept="")) for row in evidence.results]


def test_nothing_changed(request_of: Request, counted: list[str]) -> None:
    first = run_parity(request_of)
    assert counted == ["onnx/float32", "onnx/w8"] and not any(row.kept for row in first.results)
    said: list[str] = []
    second = run_parity(request_of, said.append)
    assert counted == ["onnx/float32", "onnx/w8"], "no worker judged anew"
    assert bare(second) == bare(first)
    assert {row.kept.endswith(" UTC") for row in second.results} == {True}
    assert "onnxruntime: onnx w8: unchanged, kept from 20" in said[1]
    third = run_parity(request_of)
    assert {row.kept for row in third.results} == {row.kept for row in second.results}, "the time stays the first one"
    run_parity(replace(request_of, again=True))
    assert len(counted) == 4


def test_a_changed_limit_judges_what_it_limits(request_of: Request, counted: list[str]) -> None:
    run_parity(request_of)
    budget = (
        '[ship]\nonnx = ["float32"]\n[[limit]]\nrecipe = "w8"\noutput = "scores"\nmetric = "snr_db"\n'
        'limit = 200\nreason = "more than eight bits hold"\n'
    )
    (request_of.spec.folder / "budget.toml").write_text(budget)
    counted.clear()
    evidence = run_parity(request_of)
    assert counted == ["onnx/w8"]
    verdicts = {(row.recipe, row.mode): row.verdict for row in evidence.results}
    assert verdicts["w8", "direct"] == "mismatch" and verdicts["float32", "direct"] == "pass"
    # A refusal is a verdict like another: it stands until something changes.
    counted.clear()
    assert bare(run_parity(request_of)) == bare(evidence) and counted == []


def test_other_goldens_and_options_judge_anew(request_of: Request, counted: list[str]) -> None:
    run_parity(request_of)
    counted.clear()
    run_parity(replace(request_of, most=2))
    assert len(counted) == 2
    run_parity(request_of)
    assert len(counted) == 2, "both are kept beside each other"


def test_an_interrupted_run_goes_on(request_of: Request, counted: list[str]) -> None:
    """Each artifact is kept as soon as it is judged."""

    def interrupt(text: str) -> None:
        if text.endswith("onnx w8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_parity(request_of, interrupt)
    counted.clear()
    assert {row.recipe for row in run_parity(request_of).results} == {"float32", "w8"}
    assert counted == ["onnx/w8"]


def test_changed_files_fail(request_of: Request, counted: list[str]) -> None:
    run_parity(request_of)
    path = request_of.root / "onnx/w8/classifier.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    counted.clear()
    evidence = run_parity(request_of)
    assert counted == ["onnx/w8"]
    assert {row.verdict for row in evidence.results if row.recipe == "w8"} == {"failed"}
    # A failure is not kept.
    run_parity(request_of)
    assert counted == ["onnx/w8"] * 2


def test_damaged_rows_are_measured_again(request_of: Request, counted: list[str]) -> None:
    run_parity(request_of)
    stored = sorted((request_of.root / kept.FOLDER / "parity").glob("*.json"))
    stored[0].write_text(stored[0].read_text().replace('"samples": 4', '"samples": 9'))
    stored[1].write_text('{"rows": 1}')
    counted.clear()
    evidence = run_parity(request_of)
    assert len(counted) == 2 and {row.samples for row in evidence.results if row.mode == "direct"} == {4}


@pytest.mark.parametrize("what", ["packages", "sources", "identity"])
def test_another_environment_is_another_key(request_of: Request, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    built = select(request_of)[0][0]
    before = KeptRows(request_of, "parity", ParityRow).path(built)
    real = getattr(kept, what)
    monkeypatch.setattr(kept, what, lambda: replace(real(), memory=1) if what == "identity" else "another")
    assert KeptRows(request_of, "parity", ParityRow).path(built) != before


def test_sizes_are_kept_too(request_of: Request) -> None:
    first, second = run_size(request_of), run_size(request_of)
    assert [plain(replace(row, kept="")) for row in second.results] == plain(list(first.results))
    assert all(row.kept for row in second.results)


def test_json_says_from_when(request_of: Request, command: Callable[..., Any]) -> None:
    options = ("--model", request_of.spec.folder, "--out", request_of.out, "--runtime", "onnxruntime", "--json")
    for again in ((), ("--again",), ()):
        done = command("benchmarks", "parity", *options, *again)
        assert done.code == 0, done.verdict
    assert all(row["kept"] for row in json.loads(done.out)["results"])
    assert "2 artifacts agree with the reference (2 unchanged, kept from 20" in done.verdict
