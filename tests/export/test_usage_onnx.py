"""Run the JavaScript of an ONNX artifact's USAGE.md unchanged, on onnxruntime-web in Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Artifacts = Callable[[str, str, str], Path]


@pytest.fixture
def run_usage(artifact: Artifacts, root: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_usage(model, recipe)` runs the JavaScript, followed by `more`, on `folder` or on the artifact."""

    def run(model: str, recipe: str, folder: Path | None = None, more: str = "") -> subprocess.CompletedProcess[str]:
        source = artifact(model, "onnx", recipe)
        (code,) = re.findall(r"```js\n(.*?)```", (source / "USAGE.md").read_text(), re.DOTALL)
        (tmp_path / "usage.mjs").write_text(code + more)
        if not (tmp_path / "node_modules").exists():
            (tmp_path / "node_modules").symlink_to(root / "node_modules")
        words = ["node", str(tmp_path / "usage.mjs"), str(folder or source)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path)

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("model", "recipe", "checks"),
    [("portrait", "float32", 9), ("portrait", "float16", 9), ("portrait", "w8", 9), ("classifier", "float32", 1)],
)
def test_check_passes(run_usage: Run, model: str, recipe: str, checks: int) -> None:
    done = run_usage(model, recipe)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") == checks


def test_check_fails_for_a_wrong_golden(run_usage: Run, artifact: Artifacts, tmp_path: Path) -> None:
    damaged = shutil.copytree(artifact("classifier", "onnx", "float32"), tmp_path / "damaged")
    content = json.loads((damaged / "golden/golden.json").read_text())
    name = content["entries"]["classifier"]["outputs"]["scores"]["file"]
    stored = np.frombuffer((damaged / "golden" / name).read_bytes(), "<f4")
    (damaged / "golden" / name).write_bytes((stored[::-1] + np.float32(0.5)).tobytes())
    done = run_usage("classifier", "float32", damaged)
    assert done.returncode != 0
    assert "classifier.scores is off by" in done.stderr


def test_encoder_then_head_equals_the_fused_entry(run_usage: Run) -> None:
    """From pixels: the head on the encoder's features gives the same matte as the fused entry."""
    more = """
const rgba = new Uint8ClampedArray(4 * 192 * 256).map((_, i) => (i % 4 === 3 ? 255 : (i * 7) % 256));
const image = fromPixels(rgba);
const features = await run("encoder", { image });
const { alpha } = await run("segmentation", features);
const fused = await run("portrait", { image });
const gap = alpha.data.reduce((worst, v, i) => Math.max(worst, Math.abs(v - fused.alpha.data[i])), 0);
console.log(JSON.stringify({ first: [image.data[0], image.data[192 * 256]], gap, dims: alpha.dims }));
"""
    done = run_usage("portrait", "float32", more=more)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["first"] == pytest.approx([0.0, 7 / 255])
    assert printed["gap"] < 1e-5
    assert printed["dims"] == [1, 1, 256, 192]
