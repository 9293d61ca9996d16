"""The driver: its plans, and that one failure costs only its own recipe or target."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import export.driver
from export.driver import ExportPlan, Outcome, plan_export, run_plan, verdict
from hydramobile.artifact import read_artifact, verify
from hydramobile.errors import StageError, UsageError
from hydramobile.process import WorkerDied
from hydramobile.spec import load_spec

OwnModel = Callable[..., Path]


def quiet(target: str, text: str) -> None:
    """No progress display."""


def broken_factory(folder: Path, target: str, action: str) -> None:
    """Let the model's own code run `action` in the worker of one target; for other targets it works."""
    net = folder / "net.py"
    lines = [
        "import os, signal, sys, time",
        "sound = build",
        "def build():",
        f"    if 'export.targets.{target}' in sys.modules:",
        f"        {action}",
        "    return sound()",
    ]
    net.write_text(net.read_text() + "\n" + "\n".join(lines) + "\n")


def test_one_target_failing_does_not_stop_the_others(own_model: OwnModel, tmp_path: Path) -> None:
    folder = own_model("classifier")
    broken_factory(folder, "tfjs", "os.kill(os.getpid(), signal.SIGKILL)")
    plan = plan_export(load_spec(folder), ["tfjs", "onnx"], ["float32"], tmp_path / "out", overwrite=False)

    outcomes = {outcome.target: outcome for outcome in run_plan(plan, quiet)}

    assert outcomes["onnx"].state == "exported"
    assert (outcomes["tfjs"].state, outcomes["tfjs"].stage) == ("failed", "capture")
    assert outcomes["tfjs"].reason.startswith("the worker was killed by SIGKILL; its log: ")
    root = tmp_path / "out/classifier"
    assert [row["folder"] for row in json.loads((root / "manifest.json").read_text())["artifacts"]] == ["onnx/float32"]
    recorded = json.loads((root / "export.json").read_text())["outcomes"]
    assert recorded["tfjs/float32"]["state"] == "failed"
    with pytest.raises(StageError, match="tfjs float32: the worker was killed"):
        verdict(list(outcomes.values()))


@pytest.mark.parametrize(
    ("action", "stage", "reason"),
    [
        ("os._exit(7)", "capture", "ended with exit code 7"),
        ("os._exit(0)", "capture", "ended before it reported all of its recipes"),
        ("raise RuntimeError('vendor')", "factory", "RuntimeError: vendor"),
    ],
)
def test_deaths_of_a_worker(own_model: OwnModel, tmp_path: Path, action: str, stage: str, reason: str) -> None:
    folder = own_model("classifier")
    broken_factory(folder, "onnx", action)
    plan = plan_export(load_spec(folder), ["onnx"], ["float32", "w8"], tmp_path / "out", overwrite=False)

    outcomes = run_plan(plan, quiet)

    assert [(outcome.recipe, outcome.state, outcome.stage) for outcome in outcomes] == [
        ("float32", "failed", stage),
        ("w8", "failed", stage),
    ]
    assert all(reason in outcome.reason for outcome in outcomes)


def test_a_hang_is_killed(own_model: OwnModel, tmp_path: Path) -> None:
    folder = own_model("classifier")
    broken_factory(folder, "onnx", "time.sleep(3600)")
    plan = plan_export(load_spec(folder), ["onnx"], ["float32"], tmp_path / "out", overwrite=False)

    (outcome,) = run_plan(plan, quiet, limit=5)

    assert outcome.state == "failed"
    assert outcome.reason.startswith("the worker showed no progress for 5 s and was killed")


def plan_of(model: Path, out: Path, *recipes: str) -> ExportPlan:
    return ExportPlan(load_spec(model), out, {"onnx": recipes}, ())


def script(monkeypatch: pytest.MonkeyPatch, *runs: list[dict[str, Any] | Exception]) -> list[tuple[str, ...]]:
    """Let workers send these events instead of running. Return the recipes that each worker was asked for."""
    asked: list[tuple[str, ...]] = []
    waiting = iter(runs)

    def events(module: str, job: dict[str, Any], log: Path, limit: float) -> Iterator[dict[str, Any]]:
        asked.append(tuple(job["recipes"]))
        for item in next(waiting):
            if isinstance(item, Exception):
                raise item
            yield item

    monkeypatch.setattr(export.driver, "events", events)
    return asked


def stage(name: str, recipe: str = "", event: str = "start") -> dict[str, Any]:
    return {"event": event, "stage": name, "recipe": recipe}


def test_a_death_in_one_recipe_costs_that_recipe(
    monkeypatch: pytest.MonkeyPatch, model_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    ready = [stage("capture"), stage("capture", event="done"), stage("convert"), stage("convert", event="done")]
    monkeypatch.setattr(export.driver, "is_current", lambda *arguments: True)
    asked = script(
        monkeypatch,
        [
            *ready,
            stage("emit", "float32"),
            stage("emit", "float32", "done"),
            stage("emit", "float16"),
            WorkerDied("the worker was killed by SIGSEGV"),
        ],
        [*ready, stage("emit", "w8"), stage("emit", "w8", "done")],
    )

    outcomes = run_plan(plan_of(model_dir("classifier"), tmp_path, "float32", "float16", "w8"), quiet)

    assert [(outcome.recipe, outcome.state) for outcome in outcomes] == [
        ("float32", "exported"),
        ("float16", "failed"),
        ("w8", "exported"),
    ]
    assert (outcomes[1].stage, outcomes[1].reason) == ("emit", "the worker was killed by SIGSEGV")
    assert asked == [("float32", "float16", "w8"), ("w8",)]


def test_a_report_without_an_artifact_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, model_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    script(monkeypatch, [stage("emit", "float32"), stage("emit", "float32", "done")])
    (outcome,) = run_plan(plan_of(model_dir("classifier"), tmp_path, "float32"), quiet)
    assert (outcome.state, outcome.stage) == ("failed", "seal")
    assert "holds no intact artifact" in outcome.reason


FORGED = """
        import os, sys
        if sys.argv[1:] and sys.argv[1].isdigit():
            for event in ("start", "done"):
                os.write(int(sys.argv[1]), b'{"event": "%s", "stage": "emit", "recipe": "float32"}\\n' % event.encode())
            os._exit(0)
"""


def test_forged_events_of_a_net(own_model: OwnModel, tmp_path: Path, command: Callable[..., Any]) -> None:
    """The net's code runs in the worker: it writes the report of an export itself and ends the process."""
    folder = own_model("classifier")
    net = (folder / "net.py").read_text()
    at = net.rindex("    def forward(")
    head, body = net[at:].split("\n", 1)
    (folder / "net.py").write_text(f"{net[:at]}{head}{FORGED}{body}")
    done = command("export", "onnx", "--model", folder, "--out", tmp_path / "out", "--recipe", "float32")
    assert done.code == 3, done.verdict
    assert "holds no intact artifact" in done.verdict


def test_a_worker_that_ends_early_without_a_report(
    monkeypatch: pytest.MonkeyPatch, model_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    """Exit code 0 with work undone is a failure too, not an endless loop of new workers."""
    script(monkeypatch, [stage("capture")])
    outcomes = run_plan(plan_of(model_dir("classifier"), tmp_path, "float32", "w8"), quiet)
    assert [outcome.state for outcome in outcomes] == ["failed", "failed"]


def test_up_to_date_and_overwrite(own_model: OwnModel, tmp_path: Path) -> None:
    folder = own_model("classifier")
    out = tmp_path / "out"

    def plan(overwrite: bool = False) -> ExportPlan:
        return plan_export(load_spec(folder), ["onnx"], ["float32"], out, overwrite)

    first = run_plan(plan(), quiet)
    assert [outcome.state for outcome in first] == ["exported"]
    made = out / "classifier/onnx/float32"
    before = read_artifact(made)
    assert (plan().jobs, [outcome.state for outcome in plan().resolved]) == ({}, ["up to date"])

    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace('version = "1.0.0"', 'version = "1.0.1"'))
    with pytest.raises(UsageError, match=r"onnx/float32 holds another artifact; --overwrite replaces it"):
        plan()
    assert read_artifact(made) == before
    assert plan(overwrite=True).jobs == {"onnx": ("float32",)}

    toml.write_text(toml.read_text().replace('version = "1.0.1"', 'version = "1.0.0"'))
    (made / "USAGE.md").write_text("edited")
    with pytest.raises(UsageError, match="--overwrite"):
        plan()

    (made / "artifact.json").write_text("{")
    assert [outcome.state for outcome in run_plan(plan(overwrite=True), quiet)] == ["exported"]
    verify(made, read_artifact(made))
    assert read_artifact(made) == before


def test_the_models_own_code_is_part_of_the_input(own_model: OwnModel, tmp_path: Path) -> None:
    folder = own_model("classifier")
    run_plan(plan_export(load_spec(folder), ["onnx"], ["float32"], tmp_path / "out", overwrite=False), quiet)
    (folder / "net.py").write_text((folder / "net.py").read_text() + "\n# another line\n")
    with pytest.raises(UsageError, match="--overwrite"):
        plan_export(load_spec(folder), ["onnx"], ["float32"], tmp_path / "out", overwrite=False)


def test_unsupported_and_unavailable(
    model_dir: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(model_dir("classifier"))
    refused = plan_export(spec, ["onnx"], ["p1"], tmp_path, overwrite=False)
    assert [(outcome.state, bool(outcome.reason)) for outcome in refused.resolved] == [("not supported", True)]
    with pytest.raises(UsageError, match="nothing to export: onnx p1: "):
        verdict(refused.resolved)

    monkeypatch.setattr(
        "export.targets.onnx.OnnxTarget.unavailable", lambda self: "onnx not installed; run: make setup"
    )
    missing = plan_export(spec, ["onnx"], ["float32"], tmp_path, overwrite=False)
    assert [outcome.state for outcome in missing.resolved] == ["unavailable"]
    with pytest.raises(StageError, match="onnx float32: onnx not installed; run: make setup"):
        verdict(missing.resolved)


def test_without_recipes_the_budget_decides(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    plan = plan_export(load_spec(model_dir("portrait")), ["onnx", "tfjs"], [], tmp_path, overwrite=False)
    assert set(plan.jobs["onnx"]) >= {"float32", "float16", "w8"}
    assert set(plan.jobs["tfjs"]) >= {"float32", "float16"}


def test_a_damaged_record_does_not_matter(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    spec = load_spec(model_dir("classifier"))
    (tmp_path / "classifier").mkdir()
    for text in ("{", "[]", '{"outcomes": 3}'):
        (tmp_path / "classifier/export.json").write_text(text)
        run_plan(ExportPlan(spec, tmp_path, {}, (Outcome("onnx", "p1", "not supported", reason="no"),)), quiet)
        assert list(json.loads((tmp_path / "classifier/export.json").read_text())["outcomes"]) == ["onnx/p1"]


def test_verdict_counts() -> None:
    good = Outcome("onnx", "float32", "exported")
    assert verdict([good, replace(good, state="up to date"), replace(good, state="not supported")]) == (
        "1 exported, 1 up to date, 1 not supported"
    )
