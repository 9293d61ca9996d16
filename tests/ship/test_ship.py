"""The verb `ship`: the first verdict comes soonest, one failure does not stop the rest, and rows name the fault."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from ship.rows import ShipRow, conclude, judged_row, merged, share
from ship.run import Shipment, make_request
from ship.schedule import Task, run_tasks
from ship.show import same_fault, ship_lines
from support.fixtures import Artifacts, Command, ModelDir, OutWith

ROW = ShipRow("onnx", ("float32",), must=True, file="a/float32/net.onnx", megabytes=1.0)


def measure(metric: str, value: float, limit: float | None) -> dict[str, Any]:
    return {"output": "y", "metric": metric, "value": value, "limit": limit, "worst": "s"}


def result(verdict: str, *measures: dict[str, Any], reason: str = "", **more: Any) -> dict[str, Any]:
    blank = {"target": "onnx", "recipe": "float32", "runtime": "r", "entry": "net", "mode": "direct", "stage": ""}
    return {**blank, "verdict": verdict, "measures": list(measures), "reason": reason, **more}


def test_the_nearest_limit_is_told() -> None:
    row = judged_row(ROW, [result("pass", measure("err_sens", 1e-4, 1e-3), measure("snr_db", 40, 30))], "")
    assert (row.verdict, row.limit) == ("pass", "75% of its limit: y snr_db 40 (limit 30)")
    assert share(measure("max_abs", 0.0, 0.0)) == 0


def test_a_broken_limit_of_a_recipe_that_must_ship() -> None:
    rows = [result("pass", measure("snr_db", 40, 30)), result("mismatch", reason="y is off")]
    broken = judged_row(ROW, rows, "--model m")
    assert (broken.verdict, broken.limit) == ("broken", "r net direct: y is off")
    assert broken.next == "hydra-mobile parity --model m --only onnx/float32 --bisect names the first layer"
    with pytest.raises(BudgetBroken, match="onnx float32"):
        conclude([broken])
    refused = judged_row(replace(ROW, must=False), rows, "")
    assert refused.verdict == "refused"
    assert conclude([refused, replace(ROW, verdict="pass")]) == "1 files may ship, 1 may not"


def test_nothing_judged_is_not_a_pass() -> None:
    row = judged_row(ROW, [result("unavailable", reason="no Chromium")], "")
    assert (row.verdict, row.limit) == ("unjudged", "no Chromium")
    with pytest.raises(NothingJudged, match="no Chromium"):
        conclude([row])


def test_equal_failures_are_one_row() -> None:
    failed = ShipRow("onnx", ("float32",), True, "failed", limit="the net failed", stage="capture")
    rows = merged([failed, replace(failed, recipes=("w8",), must=False), replace(failed, target="tfjs")])
    assert [(row.target, row.recipes) for row in rows] == [("onnx", ("float32", "w8")), ("tfjs", ("float32",))]
    with pytest.raises(StageError, match="capture: onnx float32, w8: the net failed"):
        conclude(rows)


def test_one_fault_of_every_target_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ShipRow(target, ("float32", "w8"), True, "failed", limit="the net <adds> None", stage="capture")
        for target in ("onnx", "coreml", "litert")
    ]
    ship_lines([*rows, replace(rows[0], target="tfjs", recipes=("float32",)), ROW], "")
    told = capsys.readouterr().out
    assert told.count("the net <adds> None") == 1
    assert all(target in told for target in ("onnx", "coreml", "litert", "tfjs"))
    assert [len(group) for group in same_fault([*rows, ROW, replace(ROW, target="tfjs")])] == [3, 1, 1]


def test_tasks_wait_for_each_other_and_the_first_ready_one_starts() -> None:
    done: list[str] = []
    lock = threading.Lock()

    def work(name: str, seconds: float = 0.0) -> Any:
        def run() -> None:
            time.sleep(seconds)
            with lock:
                done.append(name)

        return run

    tasks = [
        Task("judge a", work("judge a"), ("a",), alone="judge"),
        Task("judge b", work("judge b"), ("b",), alone="judge"),
        Task("a", work("a")),
        Task("b", work("b", 0.2)),
        Task("c", work("c", 0.4)),
    ]
    run_tasks(tasks)
    assert done[:2] == ["a", "judge a"] and sorted(done) == sorted(task.name for task in tasks)


def test_an_error_is_raised_and_stops_further_tasks() -> None:
    done: list[str] = []

    def fail() -> None:
        raise StageError("x", "y")

    with pytest.raises(StageError):
        run_tasks([Task("a", fail), Task("b", lambda: done.append("b"), ("a",))])
    assert not done


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["andriod", "--model", "net.pt2"], "did you mean 'android'?"),
        (["web", "--model", "none.pt2"], "there is no file none.pt2"),
        (["web", "--model", "none"], "no model in none: there is no such folder"),
    ],
)
def test_a_wrong_word_is_bad_usage(
    command: Command, tmp_path: Path, words: list[str], message: str, root: Path
) -> None:
    done = command("ship", *words, cwd=tmp_path, env={"PYTHONPATH": str(root)})
    assert done.code == 2 and message in done.verdict


def test_an_archive_ships_without_a_file_written_by_hand(command: Command, tmp_path: Path, root: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 8, 9, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 48, 4)).eval()
    torch.export.save(torch.export.export(net, (torch.rand(1, 1, 200),)), tmp_path / "net.pt2")
    done = command(
        *("ship", "onnx", "--model", "net.pt2", "--recipe", "float32", "--quick", "--json"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
    )
    assert (done.code, done.verdict) == (0, "1 files may ship"), done.out + done.err
    (row,) = json.loads(done.out)["rows"]
    assert row["verdict"] == "pass" and row["limit"].endswith("(limit 0.001)")
    assert (tmp_path / row["file"]).is_file() and (tmp_path / "build/models/net/model.toml").is_file()


def test_the_report_is_written(artifact: Artifacts, out_with: OutWith, model_dir: ModelDir) -> None:
    """By the very command that `ship` starts."""
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    options = {"model": model_dir("classifier"), "out": out, "recipes": ["float32"]}
    said: list[str] = []
    shipment = Shipment(make_request(["onnx"], options, said.append), said.append)
    shipment.write_report()
    assert shipment.report == str(out / "classifier/report.html") and Path(shipment.report).is_file(), said
