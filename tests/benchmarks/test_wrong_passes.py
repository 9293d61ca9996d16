"""Faults that once passed: lost, exchanged, emptied or edited artifacts, evidence lost between two commands, and photos
of one name. Each is tried from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hydramobile.artifact import digest, read_artifact, write_artifact

Artifacts = Callable[[str, str, str], Path]
Command = Callable[..., Any]
OutWith = Callable[..., Path]
ORT = ("--runtime", "onnxruntime")
RECIPES = ("float32", "float16", "w8", "w8a8")


@pytest.fixture
def parity(command: Command, model_dir: Callable[[str], Path]) -> Command:
    def run(out: Path, *more: object) -> Any:
        return command("benchmarks", "parity", "--model", model_dir("classifier"), "--out", out, *more)

    return run


@pytest.fixture
def exported(artifact: Artifacts, out_with: OutWith) -> Path:
    """An OUT folder as `python -m export onnx` leaves it, with its record of outcomes: float32 and float16."""
    folders = [artifact("classifier", "onnx", recipe) for recipe in ("float32", "float16")]
    out = out_with("classifier", *folders)
    shutil.copy(folders[0].parents[1] / "export.json", out / "classifier/export.json")
    return out


def test_photos_of_one_name(
    tmp_path: Path, command: Command, parity: Command, out_with: OutWith, artifact: Artifacts, model_dir: Any
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, shade in (("IMG_1.jpeg", 10), ("IMG_1.png", 250), ("copy.png", 250)):
        Image.new("RGB", (24, 24), (shade, 90, 40)).save(photos / name)
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    model = ("--model", model_dir("classifier"), "--out", out, "--samples", photos)
    assert command("hydramobile", "goldens", *model).code == 0
    done = parity(out, *ORT, "--samples", photos, "--json")
    assert done.code == 0, done.verdict
    document = json.loads(done.out)
    names = document["samples"]
    assert len(names) == len(set(names)) == 2, "the copy of a photo is judged once, photos of one name are two"
    (direct,) = [row for row in document["results"] if row["mode"] == "direct"]
    assert direct["samples"] == 2
    assert sorted(name.partition("-")[0] for name in names) == ["IMG_1", "IMG_1"]


def test_a_request_that_judges_nothing_is_no_pass(exported: Path, parity: Command) -> None:
    assert parity(exported, *ORT).code == 0
    done = parity(exported, "--only", "onnx/float32", "--runtime", "litert")
    assert (done.code, done.verdict) == (
        4,
        "none of the chosen runtimes runs any of these artifacts; a comparison of nothing fails",
    )


@pytest.mark.parametrize("gone", ["", "artifact.json"])
def test_a_must_ship_artifact_that_is_gone(exported: Path, parity: Command, command: Command, gone: str) -> None:
    assert parity(exported, *ORT).code == 0
    path = exported / "classifier/onnx/float32" / gone
    path.unlink() if gone else shutil.rmtree(path)
    done = parity(exported, *ORT)
    assert done.code == 3, done.verdict
    assert "onnx float32" in done.verdict
    assert "was exported and is gone" in done.verdict


def test_a_candidate_that_is_gone_is_no_failure(exported: Path, parity: Command) -> None:
    shutil.rmtree(exported / "classifier/onnx/float16")
    assert parity(exported, *ORT).code == 0


def test_a_folder_copied_over_another(exported: Path, parity: Command, command: Command, model_dir: Any) -> None:
    shutil.rmtree(exported / "classifier/onnx/float32")
    shutil.copytree(exported / "classifier/onnx/float16", exported / "classifier/onnx/float32")
    done = parity(exported, *ORT)
    assert done.code == 3, done.verdict
    assert "holds the artifact onnx/float16, not onnx/float32" in done.verdict
    again = command("export", "onnx", "--model", model_dir("classifier"), "--out", exported, "--recipe", "float32")
    assert again.code == 2, "the folder is not up to date"
    assert "--overwrite" in again.verdict


@pytest.mark.parametrize("side", ["entries", "outputs"])
def test_an_artifact_resealed_without_its_entries(exported: Path, parity: Command, reseal: Any, side: str) -> None:
    folder = exported / "classifier/onnx/float32"
    if side == "entries":
        sealed = replace(read_artifact(folder), entries=())
        write_artifact(folder, replace(sealed, sha256=digest(sealed)))
    else:
        reseal(folder, lambda a: replace(a, entries=tuple(replace(entry, outputs=()) for entry in a.entries)))
    done = parity(exported, *ORT)
    assert done.code == 3, done.verdict
    told = {"entries": "'entries' is empty", "outputs": "is not the entry of the spec"}
    assert told[side] in done.verdict


def test_forged_sizes(exported: Path, parity: Command) -> None:
    """The seal covers the number of bytes in artifact.json, and size limits are judged by it."""
    folder = exported / "classifier/onnx/float32"
    sealed = read_artifact(folder)
    forged = replace(sealed, files=tuple(replace(record, bytes=1) for record in sealed.files))
    write_artifact(folder, replace(forged, sha256=digest(forged)))
    done = parity(exported, *ORT)
    assert done.code == 3, done.verdict
    assert "bytes, artifact.json says 1" in done.verdict


def test_a_flipped_byte_does_not_ship_in_a_report(
    exported: Path, parity: Command, command: Command, model_dir: Any
) -> None:
    assert parity(exported, *ORT).code == 0
    path = exported / "classifier/onnx/float32/classifier.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = command("benchmarks", "report", "--model", model_dir("classifier"), "--out", exported)
    assert done.code == 0, done.verdict
    text = (exported / "classifier/report.md").read_text()
    assert "does not match its seal" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| onnx") and "float32" in line][:1]
    assert "ships" not in line


def test_four_commands_at_once_lose_no_row(artifact: Artifacts, out_with: OutWith, model_dir: Any, root: Path) -> None:
    out = out_with("classifier", *(artifact("classifier", "onnx", recipe) for recipe in RECIPES))
    words = [
        sys.executable,
        "-m",
        "benchmarks",
        "parity",
        "--model",
        str(model_dir("classifier")),
        "--out",
        str(out),
    ]
    running = [
        subprocess.Popen([*words, *ORT, "--only", f"onnx/{recipe}"], cwd=root, stdout=subprocess.DEVNULL)
        for recipe in RECIPES
    ]
    assert [process.wait(timeout=300) for process in running] == [0] * len(RECIPES)
    rows = json.loads((out / "classifier/parity.json").read_text())["results"]
    assert {row["recipe"] for row in rows if row["measures"]} == set(RECIPES)
