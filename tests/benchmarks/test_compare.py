"""Two grids compared: what is significant, what is refused, and what the gate does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.evidence.envelope import write
from benchmarks.evidence.grid import GridEvidence, GridRow, Process, ProcessEntry
from benchmarks.grid.compare import compare, conclude_compare, read_grid
from benchmarks.grid.run import Rounds, conclude_grid, run_grid, summarize
from benchmarks.machine import identity
from benchmarks.request import Request
from hydramobile.errors import BudgetBroken, NothingJudged, StageError, UsageError
from hydramobile.spec import load_spec

Command = Callable[..., Any]


def grid(**times: list[float]) -> GridEvidence:
    """A stored grid of onnx artifacts by recipe, each with the given process medians in milliseconds."""

    def row(recipe: str, values: list[float]) -> GridRow:
        processes = tuple(
            Process(index, 0.1, (ProcessEntry("whole", 0.0, 0.0, 9, value),)) for index, value in enumerate(values)
        )
        return GridRow(
            target="onnx",
            recipe=recipe,
            artifact=recipe,
            runtime="onnxruntime",
            evidence="host",
            processes=processes,
        )

    return GridEvidence(
        model="net",
        spec_sha256="",
        weights_sha256="",
        machine=identity(),
        threads=1,
        rounds=5,
        seconds=1.0,
        results=tuple(row(recipe, values) for recipe, values in times.items()),
    )


def elsewhere(evidence: GridEvidence, **fields: Any) -> GridEvidence:
    """The same grid of another machine."""
    assert evidence.machine is not None
    return replace(evidence, machine=replace(evidence.machine, **fields))


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
    (row,) = compare(grid(float32=old), grid(float32=new)).rows
    assert row.verdict == verdict
    assert row.ratio == pytest.approx(ratio, rel=1e-3)
    assert row.processes == (len(old), len(new))
    if verdict in ("slower", "faster"):
        # All of five above all of five: 2 of the 252 ways to order them.
        assert row.p == pytest.approx(2 / 252, abs=1e-4)
    elif verdict == "alike":
        assert "not significant" in row.reason


def test_what_only_one_side_has() -> None:
    found = compare(grid(float32=STEADY), grid(float16=STEADY))
    assert {row.recipe: row.reason for row in found.rows} == {
        "float32": "only in OLD",
        "float16": "only in NEW",
    }
    with pytest.raises(NothingJudged, match="only in NEW; only in OLD"):
        conclude_compare(found, None)


def test_what_neither_side_timed_is_said() -> None:
    """An artifact that no runtime could time is a row with the reason; it moves no verdict."""
    absent = GridRow(
        target="coreml",
        recipe="float32",
        artifact="c",
        runtime="coreml-predict",
        verdict="unavailable",
        reason="Core ML runs on macOS only",
    )
    sides = [grid(float32=STEADY), grid(float32=STEADY)]
    old, new = (replace(side, results=(*side.results, absent)) for side in sides)
    found = compare(old, new)
    (row,) = (row for row in found.rows if row.target == "coreml")
    assert (row.verdict, row.reason) == ("untimed", "unavailable: Core ML runs on macOS only")
    assert conclude_compare(found, 5) == "1 alike"
    # One side timed it: the row says why the other did not.
    failed = replace(old.results[0], verdict="failed", reason="it crashed", processes=())
    (row,) = compare(grid(float32=STEADY), replace(new, results=(failed,))).rows
    assert (row.verdict, row.reason) == ("alone", "only in OLD (NEW: failed: it crashed)")


@pytest.mark.parametrize(
    ("key", "value"),
    [("processor", "another one"), ("flags", ("avx512_vnni",)), ("cores", 96), ("machine", "aarch64"), ("system", "X")],
)
def test_unlike_machines_are_refused(key: str, value: Any) -> None:
    other = elsewhere(grid(float32=STEADY), **{key: value})
    with pytest.raises(UsageError, match=f"unlike machines.*{key}"):
        compare(grid(float32=STEADY), other)


def test_another_kernel_release_is_said() -> None:
    other = elsewhere(grid(float32=STEADY), release="1.2.3")
    assert any("release differs" in note for note in compare(grid(float32=STEADY), other).notes)


@pytest.mark.parametrize(("key", "value"), [("threads", 2), ("model", "another")])
def test_unlike_runs_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UsageError, match=key):
        compare(grid(float32=STEADY), replace(grid(float32=STEADY), **{key: value}))


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
    rows = summarize(grid(float32=drifting, w8=[value / 2 for value in drifting]).results)
    assert [(row.recipe, row.to_float32, row.p50_ms) for row in rows] == [
        ("float32", None, 30),
        ("w8", 0.5, 15),
    ]


def test_stored_grids_by_command(tmp_path: Path, model_dir: Callable[[str], Path], command: Command) -> None:
    old, new = grid(float32=STEADY), grid(float32=[value * 1.5 for value in STEADY])
    for name, evidence in (("old", old), ("new", new)):
        write(tmp_path / name / "portrait", replace(evidence, model="portrait"))
    done = command("benchmarks", "compare", tmp_path / "old", tmp_path / "new/portrait/grid.json", "--gate", 5)
    assert done.code == 1 and "50.0% slower" in done.verdict
    assert command("benchmarks", "compare", tmp_path / "old", tmp_path / "new").code == 0
    write(tmp_path / "old/portrait", elsewhere(replace(old, model="portrait"), processor="another one"))
    done = command("benchmarks", "compare", tmp_path / "old", tmp_path / "new")
    assert done.code == 2 and "unlike machines" in done.verdict
    done = command("benchmarks", "compare", tmp_path / "none", tmp_path / "new")
    assert done.code == 2 and "make bench" in done.verdict
    done = command("benchmarks", "compare", tmp_path / "new", tmp_path / "new", "--runtime", "litert")
    assert done.code == 2 and "--interleaved" in done.verdict


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}', '{"schema": 2, "results": {}}'])
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
    evidence = run_grid(request, Rounds(2, 0.05))
    found = {row.pair: row for row in evidence.results}
    assert [process.round for process in found["onnx", "float32"].processes] == [0, 1]
    assert found["", "float32"].runtime == "pytorch"
    assert found["onnx", "float16"].verdict == "failed"
    assert evidence.machine == identity()
    with pytest.raises(StageError, match="onnx float16 in onnxruntime"):
        conclude_grid(evidence)
    assert read_grid(out, "classifier") == evidence


@pytest.mark.parametrize("options", [{"count": 0}, {"seconds": 0.0}, {"threads": 0}, {"seconds": float("nan")}])
def test_bad_rounds(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is not within"):
        Rounds(**options)
