"""The two runtimes of TF.js artifacts: what they compute, what they report, and how they fail."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime import Runtime, load_runtime, run
from benchmarks.runtimes import tfjs_node
from benchmarks.runtimes.tfjs_node import NodeRuntime
from hydramobile.artifact import Entry, read_artifact
from hydramobile.errors import StageError

RUNTIMES = ("tfjs-tensorflow", "tfjs-node")
Golden = Callable[[str], dict[str, Any]]
Artifact = Callable[[str, str, str], Path]


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return load_runtime(request.param)


@pytest.fixture
def copied(artifact: Artifact, tmp_path: Path) -> tuple[Path, Entry]:
    """The portrait's depth head at float32 in a folder that may be damaged."""
    source = artifact("portrait", "tfjs", "float32")
    shutil.copytree(source, tmp_path / "artifact")
    return tmp_path / "artifact", read_artifact(source).entry("depth")


def worst(made: dict[str, Any], wanted: dict[str, Any]) -> float:
    """Largest error over the outputs, each as a share of its reference's largest value (at least 1)."""
    errors = [np.abs(value - wanted[name]).max() / max(1.0, np.abs(wanted[name]).max()) for name, value in made.items()]
    return float(max(errors))


@pytest.mark.parametrize("model", ["portrait", "classifier", "mixed"])
def test_float32_equals_the_reference(model: str, runtime: Runtime, artifact: Artifact, golden: Golden) -> None:
    folder, tensors = artifact(model, "tfjs", "float32"), golden(model)
    for entry in read_artifact(folder).entries:
        session = runtime.open(folder, entry)
        made = run(session, tensors)
        assert session.invoke() > 0
        session.close()
        assert set(made) == {port.name for port in entry.outputs}
        for port in entry.outputs:
            assert made[port.name].shape == tensors[port.name].shape
        assert worst(made, tensors) <= 1e-4, entry.id


@pytest.mark.parametrize(("recipe", "mean"), [("float16", 1e-3), ("balanced", 5e-3)])
def test_compressed_portrait(recipe: str, mean: float, runtime: Runtime, artifact: Artifact, golden: Golden) -> None:
    folder, tensors = artifact("portrait", "tfjs", recipe), golden("portrait")
    session = runtime.open(folder, read_artifact(folder).entry("portrait"))
    made = run(session, tensors)
    session.close()
    for name in ("depth", "alpha"):
        assert 0 < np.abs(made[name] - tensors[name]).mean() <= mean


def test_both_decode_the_same_weights(artifact: Artifact, golden: Golden) -> None:
    """w8 moves the output by far more than two kernels differ: a wrong scale or offset would show."""
    folder = artifact("portrait", "tfjs", "w8")
    made = []
    for name in RUNTIMES:
        session = load_runtime(name).open(folder, read_artifact(folder).entry("portrait"))
        made.append(run(session, golden("portrait"))["depth"])
        session.close()
    assert np.abs(made[0] - made[1]).max() <= 1e-4 < np.abs(made[0] - golden("portrait")["depth"]).max()


@pytest.mark.parametrize(("recipe", "stored"), [("float32", "float32"), ("float16", "float16"), ("w8", "uint8")])
def test_dtypes_come_from_the_file(recipe: str, stored: str, runtime: Runtime, artifact: Artifact) -> None:
    folder = artifact("portrait", "tfjs", recipe)
    found = runtime.read_dtypes(folder, read_artifact(folder).entry("portrait"))
    assert max(found, key=lambda name: found[name]) == stored
    assert set(found) - {stored, "float32"} == ({"uint16"} if recipe == "w8" else set())


def test_inputs_and_outputs_are_copies(runtime: Runtime, artifact: Artifact, golden: Golden) -> None:
    folder, tensors = artifact("portrait", "tfjs", "float32"), dict(golden("portrait"))
    session = runtime.open(folder, read_artifact(folder).entry("segmentation"))
    first = run(session, tensors)["alpha"]
    kept = first.copy()
    tensors["f32"] = tensors["f32"] * 0
    second = run(session, tensors)["alpha"]
    session.close()
    assert np.array_equal(first, kept) and np.abs(second - first).max() > 1e-3


def test_missing_shard(runtime: Runtime, copied: tuple[Path, Entry]) -> None:
    folder, entry = copied
    (folder / "depth/group1-shard1of1.bin").unlink()
    with pytest.raises(StageError, match=r"open: .*group1-shard1of1\.bin is missing"):
        runtime.open(folder, entry)


def test_truncated_shard(runtime: Runtime, copied: tuple[Path, Entry]) -> None:
    folder, entry = copied
    shard = folder / "depth/group1-shard1of1.bin"
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(StageError, match=r"open: the shards of .*depth/model\.json hold \d+ bytes, its weights need"):
        runtime.open(folder, entry)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not readable JSON"), ("{}", "not a TF.js graph model"), ("[]", "not a TF.js graph model")]
)
def test_malformed_model(text: str, said: str, runtime: Runtime, copied: tuple[Path, Entry]) -> None:
    folder, entry = copied
    (folder / "depth/model.json").write_text(text)
    with pytest.raises(StageError, match=said):
        runtime.open(folder, entry)


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "depth/model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_unknown_op(runtime: Runtime, copied: tuple[Path, Entry], golden: Golden) -> None:
    """Named by the error: TensorFlow refuses to load it, TF.js to run it."""
    folder, entry = copied

    def rename(content: dict[str, Any]) -> None:
        next(node for node in content["modelTopology"]["node"] if node["op"] == "AddV2")["op"] = "AddV9"

    edit(folder, rename)
    with pytest.raises(StageError, match="AddV9"):
        run(runtime.open(folder, entry), golden("portrait"))


def test_swapped_name(runtime: Runtime, copied: tuple[Path, Entry]) -> None:
    folder, entry = copied

    def rename(content: dict[str, Any]) -> None:
        content["signature"]["outputs"]["deep"] = content["signature"]["outputs"].pop("depth")

    edit(folder, rename)
    with pytest.raises(StageError, match=r"no tensor 'depth' \(has: deep\)"):
        runtime.open(folder, entry)


def test_flipped_weights_show(runtime: Runtime, copied: tuple[Path, Entry], golden: Golden) -> None:
    folder, entry = copied
    shard = folder / "depth/group1-shard1of1.bin"
    data = bytearray(shard.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = data[middle : middle + 4000][::-1]
    for index in range(middle, middle + 4000, 4):
        data[index + 3] = 0x3F  # keep the values finite
    shard.write_bytes(data)
    session = runtime.open(folder, entry)
    made = run(session, golden("portrait"))["depth"]
    session.close()
    assert np.abs(made - golden("portrait")["depth"]).max() > 1e-2


def test_wrong_input_shape(runtime: Runtime, copied: tuple[Path, Entry], golden: Golden) -> None:
    folder, entry = copied
    session = runtime.open(folder, entry)
    with pytest.raises(StageError, match=r"'f2' has shape \[1, 2, 2, 16\], the file wants \[1, 128, 96, 16\]"):
        session.bind({**golden("portrait"), "f2": np.zeros((1, 16, 2, 2), np.float32)})
    session.close()


def test_node_says_what_runs(copied: tuple[Path, Entry], golden: Golden) -> None:
    folder, entry = copied
    session = NodeRuntime().open(folder, entry)
    run(session, golden("portrait"))
    facts = session.facts
    session.close()
    assert facts["backend"] == "wasm" and facts["simd"] and facts["threads"] == 1 and not facts["fallback"]
    assert NodeRuntime().version()["tfjs"] == facts["tfjs"] == "4.22.0"


def test_node_falls_back_to_the_cpu_backend(copied: tuple[Path, Entry], golden: Golden) -> None:
    """Einsum has a cpu kernel and no wasm kernel: the model still runs, and the session says on what."""
    folder, entry = copied

    def swap(content: dict[str, Any]) -> None:
        node = next(node for node in content["modelTopology"]["node"] if node["op"] == "Mul")
        node["op"] = "Einsum"
        equation = base64.b64encode(b"nhwc,->nhwc").decode()
        node["attr"] |= {"equation": {"s": equation}, "N": {"i": "2"}}

    edit(folder, swap)
    session = NodeRuntime().open(folder, entry)
    made = run(session, golden("portrait"))
    facts = session.facts
    session.close()
    assert facts["backend"] == "cpu" and facts["fallback"] == "wasm has no kernel Einsum"
    assert worst(made, golden("portrait")) <= 1e-4


def test_node_child_dies_with_its_session(copied: tuple[Path, Entry]) -> None:
    folder, entry = copied
    session = NodeRuntime().open(folder, entry)
    child = session.child.process.pid
    os.kill(child, 0)
    session.close()
    session.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_node_child_killed(copied: tuple[Path, Entry], golden: Golden) -> None:
    folder, entry = copied
    session = NodeRuntime().open(folder, entry)
    session.child.process.kill()
    with pytest.raises(StageError, match=r"run: node died .*exit status -9"):
        run(session, golden("portrait"))


def test_node_child_hangs(copied: tuple[Path, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, entry = copied
    session = NodeRuntime().open(folder, entry)
    with pytest.raises(StageError, match=r"node did not answer 'invoke' in time"):
        session.ask({"do": "invoke"}, limit=0.0)
    assert session.child.process.poll() is not None


def test_node_missing(copied: tuple[Path, Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert NodeRuntime().unavailable() == "node is not on the PATH; run: make setup"
    with pytest.raises(StageError, match="open: node is not on the PATH"):
        NodeRuntime().open(*copied)


def test_node_modules_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tfjs_node, "MODULES", tmp_path)
    reason = NodeRuntime().unavailable() or ""
    assert "tfjs-core" in reason and "make setup" in reason


@pytest.mark.parametrize("name", RUNTIMES)
def test_available_here(name: str) -> None:
    found = load_runtime(name)
    assert found.unavailable() is None and found.version() and found.evidence == "host"
    assert found.timed == (name == "tfjs-node")
