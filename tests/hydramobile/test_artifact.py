"""The seal of an artifact folder: the changes that it detects, and the files that it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hydramobile.artifact import (
    Artifact,
    Entry,
    Port,
    digest,
    find_artifacts,
    list_files,
    read_artifact,
    verify,
    write_artifact,
    write_manifest,
)
from hydramobile.errors import StageError

PORT = Port("image", "image", (1, 3, 8, 6), "NCHW", "float32", "NCHW", (0.0, 1.0), "rgb-photo")
Seal = Callable[[Path], Artifact]


@pytest.fixture
def sealed() -> Seal:
    """Write two files into a folder and seal it."""

    def seal(folder: Path) -> Artifact:
        (folder / "golden").mkdir(parents=True)
        (folder / "body.bin").write_bytes(b"weights" * 100)
        (folder / "golden/image.bin").write_bytes(b"\0" * 16)
        entry = Entry("body", "body", ("body",), "body.bin", (PORT,), (replace(PORT, name="y", judge="alpha-matte"),))
        blank = Artifact(
            *("small", "1.0.0", "onnx", "float32", "MIT", ("me",), "text", (8, 6), "a" * 64, "b" * 64, "c" * 64),
            entries=(entry,),
            edges=(),
            preprocessing={"resize": "bilinear"},
            requires={"opset": "20"},
            toolchain={},
            golden={},
            notes=(),
            files=list_files(folder),
        )
        artifact = replace(blank, sha256=digest(blank))
        write_artifact(folder, artifact)
        return artifact

    return seal


def test_round_trip(sealed: Seal, tmp_path: Path) -> None:
    folder = tmp_path / "onnx/float32"
    artifact = sealed(folder)

    assert read_artifact(folder) == artifact
    verify(folder, artifact)
    assert artifact.entry("body").file == "body.bin"
    assert find_artifacts(tmp_path) == [folder]


def test_equal_content_gives_equal_bytes(sealed: Seal, tmp_path: Path) -> None:
    sealed(tmp_path / "a")
    sealed(tmp_path / "b")
    assert (tmp_path / "a/artifact.json").read_bytes() == (tmp_path / "b/artifact.json").read_bytes()
    assert str(tmp_path) not in (tmp_path / "a/artifact.json").read_text()


@pytest.mark.parametrize("name", ["body.bin", "golden/image.bin"])
def test_one_flipped_bit(sealed: Seal, tmp_path: Path, name: str) -> None:
    artifact = sealed(tmp_path / "a")
    data = bytearray((tmp_path / "a" / name).read_bytes())
    data[7] ^= 1
    (tmp_path / "a" / name).write_bytes(data)
    with pytest.raises(StageError, match=f"{name} does not match its seal") as caught:
        verify(tmp_path / "a", artifact)
    assert caught.value.stage == "seal"


def test_missing_file(sealed: Seal, tmp_path: Path) -> None:
    artifact = sealed(tmp_path / "a")
    (tmp_path / "a/body.bin").unlink()
    with pytest.raises(StageError, match=r"body\.bin is missing"):
        verify(tmp_path / "a", artifact)


def test_extra_file(sealed: Seal, tmp_path: Path) -> None:
    artifact = sealed(tmp_path / "a")
    (tmp_path / "a/golden/more.bin").write_bytes(b"")
    with pytest.raises(StageError, match=r"golden/more\.bin is not in artifact\.json"):
        verify(tmp_path / "a", artifact)


def test_symbolic_link_instead_of_a_file(sealed: Seal, tmp_path: Path) -> None:
    artifact = sealed(tmp_path / "a")
    (tmp_path / "elsewhere.bin").write_bytes((tmp_path / "a/body.bin").read_bytes())
    (tmp_path / "a/body.bin").unlink()
    (tmp_path / "a/body.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(StageError, match=r"body\.bin leaves .* through a symbolic link|is a symbolic link"):
        verify(tmp_path / "a", artifact)
    with pytest.raises(StageError, match="through a symbolic link"):
        read_artifact(tmp_path / "a")


def test_symbolic_link_to_a_folder(sealed: Seal, tmp_path: Path) -> None:
    artifact = sealed(tmp_path / "a")
    os.rename(tmp_path / "a/golden", tmp_path / "golden")
    (tmp_path / "a/golden").symlink_to(tmp_path / "golden")
    with pytest.raises(StageError, match="symbolic link"):
        verify(tmp_path / "a", artifact)


@pytest.mark.parametrize("path", ["../body.bin", "/etc/passwd", "golden/../../x", "a\\b", "", "nul\0"])
@pytest.mark.parametrize("where", ["files", "entries"])
def test_paths_stay_inside(sealed: Seal, tmp_path: Path, path: str, where: str) -> None:
    artifact = sealed(tmp_path / "a")
    if where == "files":
        forged = replace(artifact, files=(replace(artifact.files[0], path=path), *artifact.files[1:]))
    else:
        forged = replace(artifact, entries=(replace(artifact.entries[0], file=path),))
    write_artifact(tmp_path / "a", replace(forged, sha256=digest(forged)))
    with pytest.raises(StageError, match="must be relative and stay inside"):
        read_artifact(tmp_path / "a")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content.update(license="other"), "was changed after it was sealed"),
        (lambda content: content["entries"][0]["inputs"][0].update(scale=255), "was changed after it was sealed"),
        (lambda content: content.update(schema=3), "schema 3 is not known"),
        (lambda content: content.pop("entries"), "'entries' is missing"),
        (lambda content: content.update(color="red"), "unknown key 'color'"),
        (lambda content: content["entries"][0]["inputs"][0].update(shape=[1, "H"]), "must list positive whole numbers"),
        (lambda content: content["entries"][0]["inputs"][0].update(range=[1, 0]), "low < high"),
        (lambda content: content["entries"][0]["inputs"][0].update(range=["a", "b"]), "low < high"),
        (lambda content: content["entries"][0]["inputs"][0].update(scale=float("inf")), "finite number"),
        (lambda content: content.update(size=[8]), "must be [height, width]"),
        (lambda content: content["preprocessing"].update(gamma=float("nan")), "not finite"),
        (lambda content: content["files"][0].update(bytes="many"), "'bytes' must be a whole number"),
    ],
)
def test_edited_by_hand(sealed: Seal, tmp_path: Path, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    sealed(tmp_path / "a")
    path = tmp_path / "a/artifact.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(StageError) as caught:
        read_artifact(tmp_path / "a")
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "\ufeff{}", "[" * 100_000, "null"])
def test_not_an_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "artifact.json").write_text(text, encoding="utf-8")
    with pytest.raises(StageError, match=r"artifact\.json"):
        read_artifact(tmp_path)


def test_manifest_indexes_and_keeps_going(sealed: Seal, tmp_path: Path) -> None:
    sealed(tmp_path / "small/onnx/float32")
    sealed(tmp_path / "small/onnx/w8")
    (tmp_path / "small/onnx/w8/artifact.json").write_text("{")

    path = write_manifest(tmp_path / "small")

    rows = json.loads(path.read_text())["artifacts"]
    assert [row["folder"] for row in rows] == ["onnx/float32", "onnx/w8"]
    assert rows[0]["files"][0]["path"] == "onnx/float32/body.bin"
    assert rows[0]["entries"][0]["file"] == "onnx/float32/body.bin"
    assert all((path.parent / record["path"]).is_file() for record in rows[0]["files"])
    assert "not readable JSON" in rows[1]["error"]
