"""Instructions per inference: they repeat, the kernels show in them, and a regression breaks the gate."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.evidence.envelope import to_json
from benchmarks.evidence.instructions import InstructionEvidence
from benchmarks.instructions import baseline as gate
from benchmarks.instructions.baseline import compare, conclude_instructions, key_of, write_baseline
from benchmarks.instructions.run import run_instructions
from benchmarks.report import write as report
from benchmarks.request import Request
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
REPEATS = 1e-3


@pytest.fixture
def request_of(
    arm: Path, artifact: Artifacts, out_with: Callable[..., Path], model_dir: Callable[[str], Path]
) -> Callable[..., Request]:
    out = out_with("classifier", *(artifact("classifier", "litert", recipe) for recipe in ("float16", "w8a8")))

    def make(*runtimes: str, recipe: str = "w8a8") -> Request:
        return Request(load_spec(model_dir("classifier")), out, only=(("litert", recipe),), runtimes=runtimes)

    return make


@pytest.fixture
def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "instructions.json"
    monkeypatch.setattr(gate, "baseline_path", lambda spec: path)
    return path


def counts_of(evidence: InstructionEvidence, runtime: str) -> Mapping[str, int]:
    (row,) = (row for row in evidence.results if row.runtime == runtime)
    assert row.verdict == "counted" and row.evidence == "instruction-proxy", row.reason
    (entry,) = row.entries
    return entry.counts


def test_counts_repeat_and_the_gate_holds_them(request_of: Callable[..., Request], baseline: Path) -> None:
    asked = request_of("litert-arm-a76", "litert-arm-v86")
    first = run_instructions(asked)
    with pytest.raises(NothingJudged, match=r"there is no baseline .*: python -m benchmarks instructions --update"):
        conclude_instructions(asked.spec, first)
    write_baseline(asked.spec, first)
    # Fresh processes: the same work to a thousandth.
    second = run_instructions(asked)
    for name in asked.runtimes:
        old, new = counts_of(first, name), counts_of(second, name)
        assert abs(new["total"] / old["total"] - 1) < REPEATS
        assert new["dot"] == old["dot"] and new["i8mm"] == old["i8mm"]
    dot, i8mm = (counts_of(first, name) for name in asked.runtimes)
    assert dot["dot"] > 1e5 and not dot["i8mm"]
    assert i8mm["i8mm"] > 1e5 and not i8mm["dot"]
    assert "2 entries within 1 % of the baseline" in conclude_instructions(asked.spec, second)
    # Nothing of it says a time.
    assert not any(word in to_json(second) for word in ("ms", "second", "latency"))

    stored = json.loads(baseline.read_text())
    key = key_of(second.results[0])
    assert key in stored["counts"] and "ai-edge-litert" in key and "cortex-a76" in key
    stored["counts"][key]["classifier"]["total"] = round(stored["counts"][key]["classifier"]["total"] / 1.02)
    stored["weights_sha256"] = "0" * 64
    baseline.write_text(json.dumps(stored))
    with pytest.raises(
        BudgetBroken, match=r"classifier: \+[12]\.\d\d % instructions, over the gate of 1 %.*other weights"
    ):
        conclude_instructions(asked.spec, second)
    assert "within 3 %" in conclude_instructions(asked.spec, second, gate=3.0)
    # Another version of the library has no baseline: said, not passed over.
    stored["counts"][key.replace("ai-edge-litert ", "ai-edge-litert 9.")] = stored["counts"].pop(key)
    baseline.write_text(json.dumps(stored))
    assert "1 without a baseline" in conclude_instructions(asked.spec, second)
    assert {change.change is None for change in compare(asked.spec, second)} == {True, False}


def test_the_report_shows_work_not_time(
    request_of: Callable[..., Request], baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "pixels", lambda *arguments: None)
    asked = request_of("litert-arm-a76")
    run_instructions(asked)
    report.write_report(report.ReportRequest(asked.spec, asked.out))
    html = (asked.root / "report.html").read_text(encoding="utf-8")
    section = html.partition('<section id="instructions">')[2].partition("</section>")[0]
    assert "litert-arm-a76" in section and "cortex-a76" in section and "instruction-proxy" in section
    assert not re.search(r"\d ?(ms|s|fps)\b", section)
    assert "| litert w8a8 | litert-arm-a76 | classifier | " in (asked.root / "report.md").read_text(encoding="utf-8")


def test_half_precision_is_computed_in_half_precision(request_of: Callable[..., Request], baseline: Path) -> None:
    asked = request_of("litert-arm-a76", "litert-arm-a76-fp16", recipe="float16")
    evidence = run_instructions(asked)
    single, half = (counts_of(evidence, name) for name in asked.runtimes)
    assert single["fmla_f32"] > 1e5 and not single["fmla_f16"]
    assert half["fmla_f16"] > 1e5 and half["fmla_f32"] < 0.01 * half["fmla_f16"]
    # Eight lanes where four were.
    assert half["fmla_f16"] < 0.7 * single["fmla_f32"]


def test_what_cannot_be_counted_says_so(request_of: Callable[..., Request], baseline: Path) -> None:
    asked = request_of("litert")
    evidence = run_instructions(asked)
    assert [row.verdict for row in evidence.results] == ["unavailable"]
    with pytest.raises(NothingJudged, match="nothing was counted: litert counts no instructions"):
        conclude_instructions(asked.spec, evidence)
    with pytest.raises(NothingJudged, match="stays as it is"):
        write_baseline(asked.spec, evidence)
    assert not baseline.exists()
    # A file changed after it was sealed.
    folder = asked.root / "litert/w8a8"
    shutil.copy(folder / "USAGE.md", folder / "classifier.tflite")
    asked = request_of("litert-arm-a76")
    with pytest.raises(StageError, match="does not match its seal"):
        conclude_instructions(asked.spec, run_instructions(asked))
