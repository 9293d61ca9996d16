"""Two grids compared: what is significant, what is refused, and what the gate does."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid.compare import compare, conclude_compare, read_grid
from benchmarks.grid.run import Rounds, conclude_grid, run_grid, summarize
from benchmarks.machine import identity
from benchmarks.parity.run import Request
from hydramobile.errors import BudgetBroken, NothingJudged, StageError, UsageError
from hydramobile.spec import load_spec

Command = Callable[..., Any]


def grid(**times: list[float]) -> dict[str, Any]:
    """A stored grid of onnx artifacts by recipe, each with the given process medians in milliseconds."""
    rows = [
        {
            "target": "onnx",
            "recipe": recipe,
            "artifact": recipe,
            "runtime": "onnxruntime",
            "evidence": "host",
            "verdict": "measured",
            "reason": "",
            "processes": [
                {"round": index, "load": 0.1, "entries": [{"entry": "whole", "p50_ms": value, "runs": 9}]}
                for index, value in enumerate(values)
            ],
        }
        for recipe, values in times.items()
    ]
    machine = identity()
    return {"schema": 1, "model": "net", "machine": machine, "threads": 1, "rounds": 5, "seconds": 1, "results": rows}


STEADY = [10.0, 10.1, 10.2, 10.3, 10.4]


@pytest.mark.parametrize(
    ("old", "new", "verdict", "ratio"),
    [
        (STEADY, [value * 1.2 for value in STEADY], "slower", 1.2),
        (STEADY, [value * 0.8 for value in STEADY], "faster", 0.8),
        # Ten percent of difference in the median, and as much between processes.
        ([10, 12, 9, 11, 13], [11, 13, 10, 12, 14], "alike", 12 / 11),
        (STEADY, STEADY[:4], "few", 10.15 / 10.2),
        (STEADY[:3], STEADY, "few", 10.2 / 10.1),
    ],
)
def test_one_entry(old: list[float], new: list[float], verdict: str, ratio: float) -> None:
    (row,) = compare(grid(float32=old), grid(float32=new))["rows"]
    assert (row["verdict"], row["ratio"]) == (verdict, pytest.approx(ratio, rel=1e-3))
    assert row["processes"] == [len(old), len(new)]
    if verdict in ("slower", "faster"):
        # All of five above all of five: 2 of the 252 ways to order them.
        assert row["p"] == pytest.approx(2 / 252, abs=1e-4)
    elif verdict == "alike":
        assert "not significant" in row["reason"]


def test_what_only_one_side_has() -> None:
    found = compare(grid(float32=STEADY), grid(float16=STEADY))
    assert {row["recipe"]: row["reason"] for row in found["rows"]} == {
        "float32": "only in OLD",
        "float16": "only in NEW",
    }
    with pytest.raises(NothingJudged, match="only in NEW; only in OLD"):
        conclude_compare(found, None)


@pytest.mark.parametrize(
    ("key", "value"),
    [("processor", "another one"), ("flags", ["avx512_vnni"]), ("cores", 96), ("machine", "aarch64"), ("system", "X")],
)
def test_unlike_machines_are_refused(key: str, value: Any) -> None:
    other = grid(float32=STEADY)
    other["machine"][key] = value
    with pytest.raises(UsageError, match=f"unlike machines.*{key}"):
        compare(grid(float32=STEADY), other)


def test_another_kernel_release_is_said() -> None:
    other = grid(float32=STEADY)
    other["machine"]["release"] = "1.2.3"
    assert any("release differs" in note for note in compare(grid(float32=STEADY), other)["notes"])


@pytest.mark.parametrize(("key", "value"), [("threads", 2), ("model", "another")])
def test_unlike_runs_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UsageError, match=key):
        compare(grid(float32=STEADY), {**grid(float32=STEADY), key: value})


def test_the_gate() -> None:
    slower = grid(float32=[value * 1.08 for value in STEADY], float16=STEADY)
    found = compare(grid(float32=STEADY, float16=STEADY), slower)
    assert conclude_compare(found, None) == "1 slower, 1 alike"
    assert conclude_compare(found, 10) == "1 slower, 1 alike"
    with pytest.raises(BudgetBroken, match=r"onnx float32 whole in onnxruntime is 8\.0% slower \(10\.20 to 11\.02 ms"):
        conclude_compare(found, 5)


def test_a_gate_without_enough_processes_is_no_pass() -> None:
    found = compare(grid(float32=STEADY, float16=STEADY[:2]), grid(float32=STEADY, float16=STEADY[:2]))
    with pytest.raises(NothingJudged, match="2 and 2 processes"):
        conclude_compare(found, 5)


def test_summary_takes_ratios_within_rounds() -> None:
    """A machine that slows from round to round does not change what w8 costs against float32."""
    drifting = [10.0, 20.0, 30.0, 40.0, 50.0]
    rows = summarize(grid(float32=drifting, w8=[value / 2 for value in drifting]))
    assert [(row["recipe"], row["to_float32"], row["p50_ms"]) for row in rows] == [
        ("float32", None, 30),
        ("w8", 0.5, 15),
    ]


def test_stored_grids_by_command(tmp_path: Path, model_dir: Callable[[str], Path], command: Command) -> None:
    old, new = grid(float32=STEADY), grid(float32=[value * 1.5 for value in STEADY])
    for name, document in (("old", old), ("new", new)):
        document["model"] = "portrait"
        (tmp_path / name / "portrait").mkdir(parents=True)
        (tmp_path / name / "portrait/grid.json").write_text(json.dumps(document))
    done = command("benchmarks", "compare", tmp_path / "old", tmp_path / "new/portrait/grid.json", "--gate", 5)
    assert done.code == 1 and "50.0% slower" in done.verdict
    assert command("benchmarks", "compare", tmp_path / "old", tmp_path / "new").code == 0
    old["machine"]["processor"] = "another one"
    (tmp_path / "old/portrait/grid.json").write_text(json.dumps(old))
    done = command("benchmarks", "compare", tmp_path / "old", tmp_path / "new")
    assert done.code == 2 and "unlike machines" in done.verdict
    done = command("benchmarks", "compare", tmp_path / "none", tmp_path / "new")
    assert done.code == 2 and "make bench" in done.verdict
    done = command("benchmarks", "compare", tmp_path / "new", tmp_path / "new", "--runtime", "litert")
    assert done.code == 2 and "--interleaved" in done.verdict


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', '{"schema": 1, "results": {}}'])
def test_not_a_grid(tmp_path: Path, text: str) -> None:
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(UsageError, match="is no stored grid"):
        read_grid(tmp_path, "net")


@pytest.fixture
def two_builds(
    artifact: Callable[[str, str, str], Path], build: Callable[[str], Path], tmp_path: Path
) -> tuple[Path, Path]:
    """OLD has the classifier in float32, NEW in float32 and float16, in ONNX; both with goldens."""
    for name, recipes in (("old", ("float32",)), ("new", ("float32", "float16"))):
        shutil.copytree(build("classifier"), tmp_path / name)
        for recipe in recipes:
            place = tmp_path / name / "classifier/onnx" / recipe
            shutil.copytree(artifact("classifier", "onnx", recipe), place)
    return tmp_path / "old", tmp_path / "new"


def test_interleaved(two_builds: tuple[Path, Path], model_dir: Callable[[str], Path], command: Command) -> None:
    """The same file against itself, in alternating processes; too few of them to tell anything."""
    old, new = two_builds
    options = ("--model", model_dir("classifier"), "--runtime", "onnxruntime", "--rounds", 2, "--seconds", 0.05)
    done = command("benchmarks", "compare", old, new, "--interleaved", "--json", *options)
    assert done.code == 4 and "2 and 2 processes" in done.verdict
    rows = {row["recipe"]: row for row in json.loads(done.out[: done.out.rindex("}") + 1])["rows"]}
    assert (rows["float32"]["verdict"], rows["float32"]["same_file"]) == ("few", True)
    assert rows["float16"]["reason"] == "only in NEW"
    assert 0.2 < rows["float32"]["ratio"] < 5
    kept = json.loads((new / "classifier/compare.json").read_text())
    assert [len(kept[side]["results"]) for side in ("old", "new")] == [1, 2]


def test_the_grid_of_a_build(two_builds: tuple[Path, Path], model_dir: Callable[[str], Path]) -> None:
    """A fresh process a round and artifact; a broken artifact is told and costs only itself."""
    _, out = two_builds
    (out / "classifier/onnx/float16/classifier.onnx").write_bytes(b"no net")
    request = Request(load_spec(model_dir("classifier")), out, runtimes=("onnxruntime", "pytorch"))
    document = run_grid(request, Rounds(2, 0.05))
    found = {(row["target"], row["recipe"]): row for row in document["results"]}
    assert [process["round"] for process in found["onnx", "float32"]["processes"]] == [0, 1]
    assert found["", "float32"]["runtime"] == "pytorch"
    assert found["onnx", "float16"]["verdict"] == "failed"
    assert document["machine"] == identity()
    with pytest.raises(StageError, match="onnx float16 in onnxruntime"):
        conclude_grid(document)
    kept = json.loads((out / "classifier/grid.json").read_text())
    assert kept == copy.deepcopy(document)


@pytest.mark.parametrize("options", [{"count": 0}, {"seconds": 0.0}, {"threads": 0}, {"seconds": float("nan")}])
def test_bad_rounds(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is not within"):
        Rounds(**options)
