"""Sizes are read from the files, and say what an app ships of them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.request import Request
from benchmarks.size import conclude_size, run_size
from hydramobile.errors import NothingJudged, StageError
from hydramobile.spec import load_spec

Built = Callable[[str, str, str], Path]
ModelDir = Callable[[str], Path]


@pytest.fixture
def measured(artifact: Built, model_dir: ModelDir, tmp_path: Path) -> Callable[..., Request]:
    """`measured((target, recipe), ...)`: a request over copies of these artifacts of the portrait."""

    def copy(*pairs: tuple[str, str]) -> Request:
        for target, recipe in pairs:
            shutil.copytree(artifact("portrait", target, recipe), tmp_path / "portrait" / target / recipe)
        return Request(load_spec(model_dir("portrait")), tmp_path)

    return copy


def test_onnx_ships_its_modules_without_the_fused_copy(measured: Callable[..., Request]) -> None:
    request = measured(("onnx", "float32"))
    folder = request.root / "onnx" / "float32"

    row = run_size(request).results[0]

    modules = ["depth.onnx", "encoder.onnx", "segmentation.onnx"]
    assert row.evidence == "static"
    assert sorted(row.ships.files) == modules
    assert row.ships.bytes == sum((folder / name).stat().st_size for name in modules)
    zipped = sum(len(gzip.compress((folder / name).read_bytes(), 9, mtime=0)) for name in modules)
    assert row.ships.gzip == zipped < row.ships.bytes
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "artifact.json")
    assert sum(row.bytes.values()) == on_disk
    assert row.bytes["golden"] > 0
    assert row.bytes["model"] == row.ships.bytes + (folder / "portrait.onnx").stat().st_size
    assert {item.module for item in row.modules} == {"encoder", "depth", "segmentation"}
    assert all(item.file_bytes and 0 < item.weight_bytes <= item.file_bytes for item in row.modules)
    # 3.07 M parameters of 4 bytes, each once.
    assert row.shared.one_copy == pytest.approx(12.3e6, rel=0.02)
    assert row.shared.over_one_copy is not None and 0 < row.shared.over_one_copy < 0.05
    assert (row.delegation, row.delegation_reason) == ((), "onnxruntime has no delegates")


@pytest.mark.parametrize("target", ["coreml", "litert"])
def test_shared_weights_are_counted_once(measured: Callable[..., Request], target: str) -> None:
    """A multifunction package and a multi-signature file hold one copy of the weights for all their entries."""
    row = run_size(measured((target, "float32"))).results[0]

    # A .tflite is fetched by LiteRT.js, too; a package never travels compressed by a server.
    assert (row.ships.gzip is None) is (target == "coreml")
    assert row.shared.over_one_copy is not None and row.shared.over_one_copy < 0.05
    if any(entry.file_shared_with for entry in row.entries):
        assert row.shared.saved > 0.9 * row.shared.one_copy
    assert sum(file.bytes for file in row.files if file.role == "model") == row.bytes["model"]


def test_a_tfjs_module_is_its_folder(measured: Callable[..., Request]) -> None:
    request = measured(("tfjs", "float16"))

    row = run_size(request).results[0]

    encoder = next(entry for entry in row.entries if entry.entry == "encoder")
    folder = request.root / "tfjs" / "float16" / Path(encoder.file).parent
    assert encoder.file_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert set(encoder.weights) <= {"float16", "float32"}
    assert encoder.weights["float16"] > 0.9 * encoder.weight_bytes


def test_a_changed_file_is_a_failure_that_names_it(measured: Callable[..., Request]) -> None:
    request = measured(("onnx", "float32"))
    victim = request.root / "onnx" / "float32" / "depth.onnx"
    victim.write_bytes(victim.read_bytes() + b"\0")

    evidence = run_size(request)

    assert evidence.results[0].verdict == "failed"
    with pytest.raises(StageError, match=r"depth\.onnx does not match its seal"):
        conclude_size(evidence)


def test_a_partial_run_keeps_the_other_rows(measured: Callable[..., Request]) -> None:
    request = measured(("onnx", "float32"), ("onnx", "float16"))
    run_size(request)
    partial = Request(request.spec, request.out, only=(("onnx", "float16"),))

    kept = run_size(partial).results

    assert [row.recipe for row in kept] == ["float16", "float32"]
    shutil.rmtree(request.root / "onnx" / "float32")
    assert [row.recipe for row in run_size(partial).results] == ["float16"]


def test_nothing_to_weigh(model_dir: ModelDir, tmp_path: Path) -> None:
    with pytest.raises(NothingJudged, match="make export"):
        run_size(Request(load_spec(model_dir("portrait")), tmp_path))
