"""support.json: what is recorded of real artifacts, that nothing is done twice, and what a user is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import support
from benchmarks.evidence.grid import TimeRow, TimesEvidence
from benchmarks.evidence.size import EntryDelegation, SizeRow
from benchmarks.grid.run import Rounds
from benchmarks.request import Request
from export.driver import export
from hydramobile.errors import NothingJudged, UsageError
from hydramobile.spec import ModelSpec, load_spec
from hydramobile.support import caution, read_support, support_path

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, model_dir: Callable[[str], Path]) -> tuple[ModelSpec, Path]:
    """A copy of the classifier with an ONNX grid of three recipes and one not made, judged and timed in one round."""
    folder = tmp_path_factory.mktemp("support") / "own_supported_net"
    shutil.copytree(model_dir("classifier"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace("classifier.net:build", f"{folder.name}.net:build"))
    spec, out = load_spec(folder), folder.parent / "out"
    export(spec, ["onnx"], ["float32", "p4", "w8", "w8a8-mse-n2"], out, overwrite=False)
    done = [sys.executable, "-m", "hydramobile", "goldens", "--model", str(folder), "--out", str(out)]
    subprocess.run(done, check=True, capture_output=True)
    support.run_support(Request(spec, out), Rounds(1, 0.05))
    return spec, out


def test_rows_of_real_artifacts(judged: tuple[ModelSpec, Path]) -> None:
    spec, out = judged
    document = read_support(spec)
    assert document is not None and document["weights_sha256"] == spec.weights_sha256
    rows = {row["recipe"]: row for row in document["results"]}
    assert list(rows) == sorted(rows) == ["float32", "p4", "w8", "w8a8-mse-n2"]
    assert rows["float32"]["state"] == "ships" and rows["w8"]["state"] in ("passes", "refused")
    assert rows["float32"]["losses"]["scores"]["value"] == 1.0 and rows["float32"]["samples"] > 1
    assert rows["w8"]["bytes"] < 0.5 * rows["float32"]["bytes"]
    time = rows["w8"]["time"]
    assert time["runtime"] == "onnxruntime" and 0 < time["to_float32"]["classifier"] < 100 and len(time["load"]) == 2
    assert (
        rows["p4"]["state"] == "not made"
        and rows["p4"]["reason"].startswith("onnx has float32")
        and rows["p4"]["bytes"] is None
    )
    notes = json.loads((out / "classifier/onnx/w8a8-mse-n2/artifact.json").read_text())["notes"]
    assert "ranges by mse over 2 calibration samples" in notes


def test_what_was_done_is_not_done_again(judged: tuple[ModelSpec, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spec, out = judged
    before = support_path(spec).read_bytes()

    def never(*arguments: Any) -> Any:
        raise AssertionError("it was judged already")

    monkeypatch.setattr(support, "run_parity", never)
    monkeypatch.setattr(support, "run_size", never)
    monkeypatch.setattr(support, "take_rounds", never)
    support.run_support(Request(spec, out), Rounds(1, 0.05))
    assert support_path(spec).read_bytes() == before


def test_a_row_is_replaced_and_the_others_stay(judged: tuple[ModelSpec, Path], tmp_path: Path) -> None:
    """One recipe made and judged in another folder: its row is renewed, those of the others are as they were."""
    spec, out = judged
    own = load_spec(Path(shutil.copytree(spec.folder, tmp_path / spec.folder.name)))
    before = {row["recipe"]: row for row in json.loads(support_path(own).read_text())["results"]}
    shutil.copytree(out / "classifier/goldens", tmp_path / "out/classifier/goldens")
    shutil.copytree(out / "classifier/onnx/w8", tmp_path / "out/classifier/onnx/w8")
    support.run_support(Request(own, tmp_path / "out"), None)
    after = {row["recipe"]: row for row in json.loads(support_path(own).read_text())["results"]}
    assert list(after) == list(before)
    assert before["w8"]["time"] and after["w8"]["time"] is None
    assert {name for name in after if after[name] != before[name]} == {"w8"}


def test_rows_that_were_not_asked_for_stay(judged: tuple[ModelSpec, Path], tmp_path: Path) -> None:
    """In a folder that holds them all: they kept losing the times that the folder does not know."""
    spec, out = judged
    own = load_spec(Path(shutil.copytree(spec.folder, tmp_path / spec.folder.name)))
    before = {row["recipe"]: row for row in json.loads(support_path(own).read_text())["results"]}
    shutil.copytree(out, tmp_path / "out", ignore=shutil.ignore_patterns(TimesEvidence.FILE))
    support.run_support(Request(own, tmp_path / "out", only=(("onnx", "w8"),)), None)
    after = {row["recipe"]: row for row in json.loads(support_path(own).read_text())["results"]}
    assert before["w8a8-mse-n2"]["time"] and after["w8"]["time"] is None
    assert {name for name in after if after[name] != before[name]} == {"w8"}


def test_supported_is_what_was_judged(judged: tuple[ModelSpec, Path], command: Command) -> None:
    spec, _ = judged
    done = command("export", "list", spec.folder, "--json")
    rows = {row["recipe"]: row for row in json.loads(done.out) if row["target"] == "onnx"}
    assert (rows["float32"]["stands"], rows["w8a16"]["stands"]) == ("ships", "not judged")
    assert rows["p4"]["stands"] == "not made" and rows["p4"]["reason"]
    assert done.code == 0 and done.verdict.endswith("combinations of target and recipe are supported")


def test_a_user_is_told_what_no_one_judged(judged: tuple[ModelSpec, Path]) -> None:
    spec, _ = judged
    assert caution(spec, "onnx", "float32") == ""
    assert caution(spec, "onnx", "float16") == "onnx float16 is not in support.json: no one judged it"


def test_the_table_is_made_of_the_file_alone(judged: tuple[ModelSpec, Path], tmp_path: Path) -> None:
    spec, _ = judged
    readme = tmp_path / "README.md"
    readme.write_text("no markers\n")
    with pytest.raises(UsageError, match="needs one"):
        support.renew_table(spec, readme)
    readme.write_text(f"before\n{support.BEGIN}\nold\n{support.END}\nafter\n")
    support.renew_table(spec, readme)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| onnx | w8 |" in text and "times are ratios" in text
    assert "| onnx | p4 |" not in text and "Not made (support.json says why): onnx: p4." in text


def test_slower_than_float_is_said_from_measurement() -> None:
    def time(**shares: float) -> TimeRow:
        return TimeRow(target="litert", recipe="w8", artifact="", runtime="litert", to_float32=shares)

    def size(ops: int, delegated: int) -> SizeRow:
        row = EntryDelegation(entry="encoder", ops=ops, delegated=delegated, partitions=1)
        return SizeRow(target="litert", recipe="w8", artifact="", delegation=(row,))

    assert support.slower(time(encoder=1.31, depth=0.9)) == ["slower than float32 in litert: encoder 1.31 of its time"]
    assert support.slower(time(encoder=1.04)) == support.slower(None) == []
    found = support.undelegated(size(60, 40), size(50, 50))
    assert found == ["operators outside the delegate: encoder 20 of 60 (float32: 0)"]
    assert support.undelegated(size(50, 50), size(50, 50)) == support.undelegated(None, None) == []


def test_nothing_to_judge(model_dir: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(NothingJudged, match="no artifacts"):
        support.run_support(Request(load_spec(model_dir("classifier")), tmp_path), None)


def test_the_readme_shows_the_portraits_file(root: Path) -> None:
    readme = (root / "docs/recipes.md").read_text(encoding="utf-8")
    shown = readme[readme.index(support.BEGIN) : readme.index(support.END) + len(support.END)]
    document = support.load_support(load_spec(root / "models/portrait"))
    assert shown == support.block(document) if document else "make grid" in shown
