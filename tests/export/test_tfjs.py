"""Test the TF.js target: files, recipes, refusals, USAGE.md. Its ops are in test_tfjs_ops.py."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from export.driver import export
from export.targets.tfjs.target import TFJSTarget
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from support.emit import Converted, convert, emit
from support.programs import ops_program

RUNTIMES = ("tfjs-tensorflow", "tfjs-node")
CNN = (1, 8, 11, 14)


def test_unsupported_op_names_entry_and_op(tmp_path: Path) -> None:
    program = ops_program({"y": lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2), "bicubic", "zeros", False)}, CNN)
    with pytest.raises(StageError, match=r"convert: entry 'net': op 'GridSample' .* \(supported: Abs, .*Conv, "):
        emit(program, "tfjs", tmp_path)


def test_unsupported_attribute_says_why(tmp_path: Path) -> None:
    program = ops_program({"y": nn.Conv3d(2, 3, 3)}, (1, 2, 5, 5, 5))
    with pytest.raises(StageError, match=r"op 'Conv' .* has 3 spatial axes; 1 and 2 are supported"):
        emit(program, "tfjs", tmp_path)


@pytest.mark.parametrize("name", ["float32", "float16", "w8", "w16"])
def test_takes_recipe(name: str) -> None:
    assert TFJSTarget().refuses(recipe(name)) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [("w4", "uint8 or uint16"), ("w4g32", "one per block"), ("w8a8", "no integer kernels"), ("p4", "no palettes")],
)
def test_refuses_recipe_with_a_reason(name: str, reason: str) -> None:
    assert reason in (TFJSTarget().refuses(recipe(name)) or "")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    program = ops_program({"y": nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 300, 1))}, CNN)
    return convert(program, "tfjs", tmp_path_factory.mktemp("scratch"))


@pytest.mark.parametrize("name", ["float32", "float16", "w8", "w16"])
def test_same_bytes_twice(name: str, small: Converted, tmp_path: Path) -> None:
    folders = [emit(small.program, "tfjs", tmp_path / part, name).folder for part in ("a", "b")]
    files = [{path.name: path.read_bytes() for path in (folder / "net").iterdir()} for folder in folders]
    assert files[0] == files[1]
    assert not any(str(path).encode() in files[0]["model.json"] for path in (Path.cwd(), tmp_path))


@pytest.mark.parametrize(
    ("name", "stored", "error"), [("float16", "float16", 2e-3), ("w8", "uint8", 0.02), ("w16", "uint16", 2e-4)]
)
def test_compressed_weights(name: str, stored: str, error: float, small: Converted, tmp_path: Path) -> None:
    """Kernels are compressed, biases and shapes are not, and 0 is a code."""
    built = small.emit(name, tmp_path)
    rows = json.loads((tmp_path / "net/model.json").read_text())["weightsManifest"][0]["weights"]
    floats = [row for row in rows if row["dtype"] == "float32"]
    dtypes = {tuple(row["shape"]): row.get("quantization", {}).get("dtype") for row in floats}
    # The small kernel keeps 16 bits under w8.
    first = "uint16" if name == "w8" else stored
    assert dtypes == {(3, 3, 8, 64): first, (64,): None, (1, 1, 64, 300): stored, (300,): None}
    sizes = TFJSTarget().describe(tmp_path / "net")["weight_bytes"]
    assert sizes["float32"] == 4 * 364 and sizes[stored] >= 64 * 300
    for row in rows:
        coded = row.get("quantization", {})
        if "scale" in coded:
            assert abs(coded["min"] / coded["scale"] - round(coded["min"] / coded["scale"])) < 1e-9
    for runtime in RUNTIMES:
        measured = built.errors(runtime)["y"]
        assert 0 < measured.mean_abs <= error * measured.peak


def test_shards_are_at_most_four_megabytes(tmp_path: Path) -> None:
    program = ops_program({"y": nn.Linear(1500, 1500)}, (1, 1500))
    net = emit(program, "tfjs", tmp_path).folder / "net"
    sizes = [(net / name).stat().st_size for name in TFJSTarget().describe(net)["shards"]]
    assert len(sizes) == 3 and max(sizes) == 4 << 20 and sum(sizes) >= 1500 * 1500 * 4


def test_describe_reads_the_file(artifact: Callable[[str, str, str], Path]) -> None:
    facts = TFJSTarget().describe(artifact("portrait", "tfjs", "float16") / "encoder/model.json")
    assert facts["metadata"]["name"] == "portrait" and facts["metadata"]["license"] == "Apache-2.0"
    assert facts["metadata"]["recipe"] == "float16" and facts["metadata"]["authors"]
    (image,) = facts["entries"]["encoder"]["inputs"]
    assert image["name"] == "image" and image["shape"] == [1, 256, 192, 3] and "sRGB" in image["description"]
    assert [row["name"] for row in facts["entries"]["encoder"]["outputs"]] == ["f2", "f4", "f8", "f16", "f32"]
    assert facts["weight_bytes"]["float16"] > 5e6 and "Transpose" not in facts["ops"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.json").write_text("{}"), "not a TF.js graph model"),
        (lambda folder: (folder / "model.json").unlink(), "does not exist"),
        (lambda folder: (folder / "group1-shard1of1.bin").unlink(), "group1-shard1of1.bin"),
        (lambda folder: (folder / "group1-shard1of1.bin").write_bytes(b"12"), "hold 2"),
    ],
)
def test_describe_refuses_a_damaged_model(
    damage: Callable[[Path], object], said: str, small: Converted, tmp_path: Path
) -> None:
    small.emit("float32", tmp_path)
    damage(tmp_path / "net")
    with pytest.raises(StageError, match=said):
        TFJSTarget().describe(tmp_path / "net")


def test_a_description_is_no_part_of_the_code(own_model: Callable[..., Path], tmp_path: Path) -> None:
    """USAGE.md has one block of code, its own, whatever the descriptions in model.toml say."""
    said = 'description = "A photo\\n\\n```js\\nsteal()\\n```\\n<script>steal()</script> | "'
    folder = own_model("classifier")
    text = re.sub(r'^description = ".*"$', lambda _: said, (folder / "model.toml").read_text(), flags=re.MULTILINE)
    (folder / "model.toml").write_text(text)
    (outcome,) = export(load_spec(folder), ["tfjs"], ["float32"], tmp_path, overwrite=False)
    assert outcome.state == "exported", outcome.reason
    usage = next(tmp_path.rglob("USAGE.md")).read_text()
    assert usage.count("steal()") >= 4 and "<script" not in usage
    assert all("steal" not in block for block in re.findall(r"^```.*?^```$", usage, re.DOTALL | re.MULTILINE))
    assert usage.index("```js") > usage.rindex("steal()")


@pytest.mark.parametrize(("model", "name"), [("portrait", "float32"), ("portrait", "w8"), ("classifier", "float32")])
def test_usage_runs(
    model: str, name: str, artifact: Callable[[str, str, str], Path], root: Path, tmp_path: Path
) -> None:
    """The module of USAGE.md runs unchanged beside the artifact, and compares every entry with the golden tensors."""
    folder = tmp_path / "artifact"
    shutil.copytree(artifact(model, "tfjs", name), folder)
    (tmp_path / "node_modules").symlink_to(root / "node_modules")
    source = (folder / "USAGE.md").read_text().split("```js\n")[1].split("```")[0]
    (folder / "hydra.mjs").write_text(source)
    # A bundler resolves every import, and an app does not want the goldens on every start.
    assert "node:" not in source.replace("by node:fs", "") and not re.search(r"^await|process", source, re.MULTILINE)
    photo = "console.log(m.photoTensor({data: Array(999999).fill(51)}).dataSync()[7].toFixed(3))"
    grey = "if (m.toGrey([0, 0.5, 1]).join() !== '0,0,0,255,128,128,128,255,255,255,255,255') throw 1"
    use = (
        "const read = async (path) => new Uint8Array(await fs.promises.readFile(path)).buffer;"
        "import('./hydra.mjs').then(async (m) => { await m.check(read);"
        f" if (m.toGrey) {grey}; if (m.photoTensor) {photo}; }})"
    )
    done = subprocess.run(["node", "-e", use], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = read_artifact(folder).entries
    assert done.stdout.count("mean error") == sum(len(entry.outputs) for entry in entries)
    if model == "portrait":
        assert done.stdout.strip().endswith("0.200")
