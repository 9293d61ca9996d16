"""Run the JavaScript of an ONNX artifact's USAGE.md on onnxruntime-web in Node, whose import has another path."""

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
PAGES = 'from "onnxruntime-web/wasm"'
READ = """
import { readFile } from "node:fs/promises";
import * as usage from "./usage.mjs";
const { run, check, fromPixels, toGrey } = usage;
const read = async (path) => new Uint8Array(await readFile(`${process.argv[2]}/${path}`)).buffer;
"""


@pytest.fixture
def run_usage(artifact: Artifacts, root: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_usage(model, recipe)` imports the JavaScript and checks, or runs `more`, on `folder` or on the artifact."""

    def run(model: str, recipe: str, folder: Path | None = None, more: str = "") -> subprocess.CompletedProcess[str]:
        source = artifact(model, "onnx", recipe)
        (code,) = re.findall(r"```js\n(.*?)```", (source / "USAGE.md").read_text(), re.DOTALL)
        assert code.count(PAGES) == 1
        (tmp_path / "usage.mjs").write_text(code.replace(PAGES, PAGES.replace("/wasm", "")))
        (tmp_path / "app.mjs").write_text(READ + (more or "await check(read);\n"))
        if not (tmp_path / "node_modules").exists():
            (tmp_path / "node_modules").symlink_to(root / "node_modules")
        words = ["node", str(tmp_path / "app.mjs"), str(folder or source)]
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
const features = await run("encoder", { image }, read);
const { alpha } = await run("segmentation", features, read);
const fused = await run("portrait", { image }, read);
const gap = alpha.data.reduce((worst, v, i) => Math.max(worst, Math.abs(v - fused.alpha.data[i])), 0);
const grey = toGrey(alpha).length;
console.log(JSON.stringify({ first: [image.data[0], image.data[192 * 256]], gap, dims: alpha.dims, grey }));
"""
    done = run_usage("portrait", "float32", more=more)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["first"] == pytest.approx([0.0, 7 / 255])
    assert printed["gap"] < 1e-5
    assert printed["dims"] == [1, 1, 256, 192] and printed["grey"] == 4 * 256 * 192


def test_importing_it_loads_nothing_and_needs_no_node(artifact: Artifacts, run_usage: Run) -> None:
    """A bundler resolves every import, and an app does not want the goldens on every start."""
    (code,) = re.findall(
        r"```js\n(.*?)```", (artifact("classifier", "onnx", "float32") / "USAGE.md").read_text(), re.DOTALL
    )
    assert "node:" not in code.replace("by node:fs", "") and not re.search(r"^await|process", code, re.MULTILINE)
    assert re.findall(r'from "(.*?)"', code) == ["onnxruntime-web/wasm"]
    done = run_usage("classifier", "float32", more="console.log(Object.keys(usage).sort().join());\n")
    assert done.stdout.strip() in ("check,fromPixels,run", "check,fromPixels,run,toGrey"), done.stderr


def test_int64_outputs_are_compared(run_usage: Run, artifact: Artifacts, tmp_path: Path) -> None:
    """The elements of int64 are BigInt, which no number subtracts from. The runtime is a stand-in here."""
    done = run_usage("classifier", "float32")
    assert done.returncode == 0
    code = (tmp_path / "usage.mjs").read_text()
    fake = """
const ort = {
  Tensor: class { constructor(type, data, dims) { Object.assign(this, {type, data, dims}); } },
  InferenceSession: { create: async () => ({ run: async ({ x }) => ({ y: x }) }) },
};
"""
    (tmp_path / "usage.mjs").write_text(re.sub(r"import \* as ort.*", fake, code))
    golden = tmp_path / "int64/golden"
    golden.mkdir(parents=True)
    np.array([1, 2**60], "<i8").tofile(golden / "x.bin")
    np.array([3, 2**60], "<i8").tofile(golden / "y.bin")
    row = {"shape": [2], "dtype": "int64"}
    ports = {"inputs": {"x": {"file": "x.bin", **row}}, "outputs": {"y": {"file": "y.bin", "mean_abs": 1.0, **row}}}
    (golden / "golden.json").write_text(json.dumps({"entries": {"classifier": ports}}))
    (golden.parent / "classifier.onnx").write_bytes(b"")
    words = ["node", str(tmp_path / "app.mjs"), str(golden.parent)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 0 and "classifier y mean abs error 1 ok" in done.stdout, done.stderr
