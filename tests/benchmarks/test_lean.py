"""What a lean run leaves out, and that it says so; what a file does only where an app forces it moves no verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.evidence.envelope import identity_of, write
from benchmarks.evidence.parity import ParityEvidence, ParityRow, Verdict
from benchmarks.parity import lean
from benchmarks.parity.run import run_parity
from benchmarks.parity.standings import conclude, headline, standings
from benchmarks.request import Request
from benchmarks.runtime import GROUPS, REGISTRY, Runtime, load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.budget import load_budget
from hydramobile.errors import BudgetBroken, NothingJudged
from hydramobile.measures import Measure
from hydramobile.spec import ModelSpec, load_spec

Artifacts = Callable[[str, str, str], Path]

FORCED = next(row.name for row in REGISTRY.values() if row.forced)


@pytest.fixture
def arm() -> list[Runtime]:
    return [load_runtime(name) for name in GROUPS["arm"]]


@pytest.mark.parametrize(
    ("target", "recipe", "runs"),
    [
        ("onnx", "float32", ["ort-arm-a76"]),
        ("onnx", "w8", ["ort-arm-a76"]),
        ("onnx", "float16", ["ort-arm-a53", "ort-arm-a76"]),
        ("onnx", "w8a8", ["ort-arm-a53", "ort-arm-a76"]),
        ("litert", "float32", ["litert-arm-a76"]),
        ("litert", "float16", ["litert-arm-a53", "litert-arm-a76", "litert-arm-a76-fp16"]),
        ("litert", "d8", ["litert-arm-a53", "litert-arm-a76"]),
        ("litert", "w8a8", ["litert-arm-a53", "litert-arm-a76", "litert-arm-v86"]),
    ],
)
def test_what_computes_in_float32_is_judged_once(
    artifact: Artifacts, arm: list[Runtime], target: str, recipe: str, runs: list[str]
) -> None:
    from benchmarks.runtime import runs as takes

    own = read_artifact(artifact("classifier", target, recipe))
    able = [runtime for runtime in arm if takes(runtime, target, recipe)]
    assert [runtime.name for runtime in able if not lean.shown_by(runtime, own, arm)] == runs
    # Of one runtime alone nothing is left out.
    assert not any(lean.shown_by(runtime, own, [runtime]) for runtime in able)


def test_what_was_left_out_is_in_the_evidence(
    artifact: Artifacts, out_with: Callable[..., Path], model_dir: Callable[[str], Path]
) -> None:
    out = out_with("mixed", artifact("mixed", "tfjs", "float32"))
    spec = load_spec(model_dir("mixed"))
    request = Request(spec, out, runtimes=("tfjs-tensorflow", "tfjs-node"), most=1, lean=True)
    evidence = run_parity(request)
    (row,) = [row for row in evidence.results if row.runtime == "tfjs-tensorflow"]
    assert (row.verdict, row.stage) == ("unavailable", "left out")
    assert row.reason == "computes in float32, as in tfjs-node, which judges it"
    assert lean.summary(evidence.results) == [
        f"modules on the reference's features in tfjs-node: {lean.BOUNDARY}",
        "tfjs/float32 in tfjs-tensorflow: computes in float32, as in tfjs-node, which judges it",
    ]
    assert conclude(spec, evidence) == "1 artifacts agree with the reference"
    # What an earlier run did judge is not lost.
    earlier = run_parity(replace(request, runtimes=("tfjs-tensorflow",), lean=False))
    kept = [row for row in earlier.results if row.runtime == "tfjs-tensorflow"]
    again = run_parity(request)
    assert [row for row in again.results if row.runtime == "tfjs-tensorflow"] == kept


def evidence_of(spec: ModelSpec, rows: list[ParityRow]) -> ParityEvidence:
    return ParityEvidence(**identity_of(spec), samples=(), samples_asked=0, results=tuple(rows))


def test_a_forced_arithmetic_is_refused_and_moves_nothing(root: Path) -> None:
    """The row keeps its number; only a configuration that the file ships in can break it."""
    spec = load_spec(root / "models/portrait")

    def row(runtime: str, verdict: Verdict, reason: str = "") -> ParityRow:
        return ParityRow(
            target="litert",
            recipe="float16",
            artifact="",
            runtime=runtime,
            verdict=verdict,
            entry="portrait",
            mode="direct",
            reason=reason,
            measures=(Measure("alpha", "mean_abs", 0.0, 0.0, None, "a"),),
        )

    lost = "alpha mean_abs 0.00115 against a limit of 0.001"
    rows = [row("litert-arm-a76", "pass"), row(FORCED, "mismatch", lost)]
    (standing,) = standings(load_budget(spec), rows)
    assert standing.state == "ships"
    assert standing.reason == f"but not where an app forces it: {FORCED} portrait direct: {lost}"
    (alone,) = standings(load_budget(spec), rows[1:])
    assert alone.state == "unjudged", "a refusal is no proof of what ships"
    rows.append(row("litert-arm-a53", "mismatch", lost))
    with pytest.raises(BudgetBroken, match="litert float16: litert-arm-a53"):
        conclude(spec, evidence_of(spec, rows))


def test_a_runtime_that_could_not_run_is_no_pass(root: Path) -> None:
    """Another runtime's pass and a size within its limit do not stand in for the runtime that was asked for."""
    spec = load_spec(root / "models/portrait")
    base = ParityRow(target="onnx", recipe="float32", artifact="", runtime="ort-web")
    judged = (Measure("alpha", "mean_abs", 0.0, 0.0, None, "a"),)
    rows = [
        replace(base, runtime="onnxruntime", verdict="pass", mode="direct", measures=judged),
        replace(base, verdict="pass", mode="size"),
        replace(base, verdict="unavailable", mode="direct", reason="no loopback"),
    ]
    asked = Request(spec, Path("build"), runtimes=("ort-web",))
    with pytest.raises(NothingJudged, match="ort-web is unavailable: no loopback"):
        conclude(spec, evidence_of(spec, rows), asked)
    assert conclude(spec, evidence_of(spec, rows)).startswith("1 artifacts agree")


def test_the_last_line_of_a_report_says_what_passed(root: Path, tmp_path: Path) -> None:
    spec = load_spec(root / "models/portrait")
    blank = ParityRow(
        target="litert",
        recipe="float16",
        artifact="",
        runtime="litert",
        verdict="pass",
        entry="portrait",
        mode="direct",
    )
    good = replace(blank, measures=(Measure("alpha", "mean_abs", 0.0, 0.0, None, "a"),))
    rows = [
        good,
        replace(good, recipe="float32"),
        replace(good, recipe="w2", verdict="mismatch", reason="alpha is off"),
    ]
    must = sum(row.recipe in load_budget(spec).ship["litert"] for row in rows)
    assert headline(spec, tmp_path) == ""
    write(tmp_path, evidence_of(spec, rows))
    assert headline(spec, tmp_path) == f"portrait: 2 of 3 artifacts pass, {must} that must ship ship; "
    write(
        tmp_path,
        evidence_of(spec, [*rows, replace(good, target="coreml", recipe="w8", verdict="mismatch", reason="x")]),
    )
    assert headline(spec, tmp_path).startswith(
        f"portrait: 2 of 4 artifacts pass, {must} of {must + 1} that must ship ship"
    )
