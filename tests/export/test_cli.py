"""python -m export as a user runs it: exit codes, the verdict line, and nothing lost when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hydramobile.artifact import read_artifact, verify

Artifacts = Callable[[str, str, str], Path]
Command = Callable[..., Any]
OwnModel = Callable[..., Path]
SLOW = pytest.mark.slow


@pytest.fixture
def exported(artifact: Artifacts, tmp_path: Path) -> Path:
    """Return an OUT folder of the test's own that holds the classifier's ONNX artifact."""
    folder = artifact("classifier", "onnx", "float32")
    shutil.copytree(folder, tmp_path / "out/classifier/onnx/float32")
    return tmp_path / "out"


def classifier(root: Path, *more: object) -> tuple[object, ...]:
    return ("--model", root / "tests/nets/classifier", "--recipe", "float32", *more)


def whole(out: Path) -> bool:
    folder = out / "classifier/onnx/float32"
    verify(folder, read_artifact(folder))
    return not [path.name for path in folder.parent.iterdir() if ".new-" in path.name]


def test_exports_a_model_outside_the_repository(own_model: OwnModel, command: Command, tmp_path: Path) -> None:
    """From another working folder too: nothing depends on where the command is run."""
    folder = own_model("classifier")
    made = command(
        *("export", "onnx", "--model", folder, "--out", "made", "--recipe", "float32", "--json"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert (made.code, made.verdict.partition(" in ")[0]) == (0, "1 exported"), made.err
    assert [row["state"] for row in json.loads(made.out)] == ["exported"]
    assert whole(tmp_path / "made")
    manifest = json.loads((tmp_path / "made/classifier/manifest.json").read_text())
    assert manifest["artifacts"][0]["entries"][0]["file"] == "onnx/float32/classifier.onnx"


def test_up_to_date(exported: Path, root: Path, command: Command) -> None:
    again = command("export", "onnx", *classifier(root, "--out", exported))
    assert (again.code, again.verdict.partition(" in ")[0]) == (0, "1 up to date")
    assert f"onnx float32: {exported}/classifier/onnx/float32/classifier.onnx (" in again.out


def test_another_artifact_needs_overwrite(exported: Path, own_model: OwnModel, command: Command) -> None:
    other = own_model("classifier", {'version = "1.0.0"': 'version = "2.0.0"'})
    asked = ("export", "onnx", "--model", other, "--recipe", "float32", "--out", exported)

    refused = command(*asked)
    assert refused.code == 2
    assert refused.verdict.endswith("onnx/float32 holds another artifact; --overwrite replaces it")
    assert read_artifact(exported / "classifier/onnx/float32").version == "1.0.0"

    replaced = command(*asked, "--overwrite")
    assert (replaced.code, replaced.verdict.partition(" in ")[0]) == (0, "1 exported")
    assert read_artifact(exported / "classifier/onnx/float32").version == "2.0.0"
    assert whole(exported)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["onxn"], "no target or platform 'onxn'; did you mean 'onnx'?"),
        (["andriod"], "did you mean 'android'?"),
        (["onnx", "--recipe", "flaot16"], "no recipe 'flaot16'; did you mean 'float16'?"),
        (
            ["onnx", "--model", "models/portait"],
            "no model in models/portait: there is no such folder; did you mean models/portrait?",
        ),
        (["onnx", "--recpie", "w8"], "No such option"),
        (["make"], "Missing argument"),
        (["inspect", "nowhere.onnx"], "nowhere.onnx does not exist"),
        (["inspect", "README.md"], "no file of a known format: .onnx, .mlpackage, .tflite, model.json, .aimodel"),
        (["inspect"], "Missing argument"),
    ],
)
def test_bad_usage(command: Command, tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "README.md").write_text("text")
    words = [str(tmp_path / word) if word == "README.md" else word for word in arguments]
    extra = [] if words[0] in ("inspect", "make") else ["--out", tmp_path / "out"]
    done = command("export", *words, *extra)
    assert done.code == 2
    assert reason in done.verdict
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_a_stage_that_fails(own_model: OwnModel, command: Command, tmp_path: Path) -> None:
    folder = own_model("classifier")
    (folder / "weights.safetensors").write_bytes(b"damaged")
    done = command("export", "web", "--model", folder, "--out", tmp_path / "out")
    assert done.code == 3
    assert "weights.safetensors has sha256" in done.verdict
    assert done.verdict.endswith("(2 of 2 failed)")
    assert "Traceback" not in done.err


@pytest.mark.parametrize("platform", ["web", pytest.param("ios", marks=SLOW), pytest.param("android", marks=SLOW)])
def test_a_model_that_no_target_can_express(
    own_model: OwnModel, command: Command, tmp_path: Path, platform: str
) -> None:
    """No format has torch.linalg.svd: the error names the target, the entry and the reason."""
    folder = own_model("classifier")
    net = folder / "net.py"
    net.write_text(net.read_text().replace(".flatten(1))", ".flatten(1)) + torch.linalg.svdvals(image[0, 0])[0]"))
    done = command("export", platform, "--model", folder, "--out", tmp_path / "out", "--json")
    assert done.code == 3
    for row in json.loads(done.out):
        assert (row["state"], row["stage"]) == ("failed", "convert")
        assert "svd" in row["reason"], row
    assert not list((tmp_path / "out").rglob("artifact.json"))


def test_two_exports_at_once(root: Path, tmp_path: Path) -> None:
    words = ["export", "onnx", *classifier(root, "--out", tmp_path / "out", "--overwrite")]
    both = [subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=root) for _ in range(2)]
    assert [process.wait(240) for process in both] == [0, 0]
    assert whole(tmp_path / "out")


def test_killed_in_the_middle(exported: Path, own_model: OwnModel, root: Path, command: Command) -> None:
    """kill -9 of the command and of its worker while the worker converts: the old artifact stays."""
    slow = own_model("classifier", {'version = "1.0.0"': 'version = "2.0.0"'})
    mark = slow / "worker.pid"
    net = slow / "net.py"
    wait = f"import os, pathlib, time\nsound = build\ndef build():\n    pathlib.Path({str(mark)!r}).write_text("
    net.write_text(net.read_text() + wait + "str(os.getpid()))\n    time.sleep(600)\n    return sound()\n")
    words = ["export", "onnx", "--model", slow, "--recipe", "float32", "--out", exported, "--overwrite"]
    process = subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=root)
    deadline = time.monotonic() + 120
    while not (mark.is_file() and mark.read_text()):
        assert time.monotonic() < deadline, "the worker never started"
        time.sleep(0.1)
    process.kill()
    process.wait(10)
    os.kill(int(mark.read_text()), signal.SIGKILL)

    assert read_artifact(exported / "classifier/onnx/float32").version == "1.0.0"
    assert whole(exported)
    again = command("export", "onnx", *classifier(root, "--out", exported, "--overwrite"))
    assert again.code == 0, "no lock may be left behind"


def test_full_disk(exported: Path, own_model: OwnModel, root: Path) -> None:
    """A file-size limit stands in for a full disk: the .onnx cannot be written, the old artifact stays."""
    other = own_model("classifier", {'version = "1.0.0"': 'version = "2.0.0"'})
    words = ["export", "onnx", "--model", other, "--recipe", "float32", "--out", exported, "--overwrite"]
    program = "import resource, runpy, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    program += f"sys.argv = {['export', *map(str, words)]!r}[1:]\nrunpy.run_module('export', run_name='__main__')\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "File too large" in done.stdout.splitlines()[-1]
    assert read_artifact(exported / "classifier/onnx/float32").version == "1.0.0"
    assert whole(exported)


@pytest.mark.parametrize("obstacle", ["a file in its place", "no right to write"])
def test_output_that_cannot_be_written(root: Path, tmp_path: Path, obstacle: str) -> None:
    out = tmp_path / "out"
    program = "import os, sys\n"
    if obstacle == "a file in its place":
        out.write_text("precious")
    else:
        out.mkdir(mode=0o555)
        if os.geteuid() == 0:
            # Root may write anywhere; give that right (CAP_DAC_OVERRIDE) up before the command starts.
            program += "import ctypes\nassert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0\n"
    program += "os.execv(sys.executable, [sys.executable, '-m', *sys.argv[1:]])\n"
    words = ["export", "onnx", *classifier(root, "--out", out)]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("verdict: 3 ")
    assert str(out) in last, "the message names the folder"
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == [] if out.is_dir() else out.read_text() == "precious"


def test_list(command: Command) -> None:
    done = command("export", "list", "--json")
    rows = {(row["target"], row["recipe"]): row for row in json.loads(done.out)}
    assert done.code == 0
    for target in ("onnx", "coreml", "litert", "tfjs"):
        for recipe in ("float32", "float16", "w8"):
            assert rows[target, recipe]["refused"] == ""
    assert any(row["refused"] for row in rows.values()), "a refusal says why"
    assert rows["coreml", "compact"]["refused"] == "", "the model's own recipes are listed"
    assert "float32" in command("export", "list").out


def test_doctor(command: Command) -> None:
    done = command("export", "doctor", "--json")
    rows = {row["target"]: row for row in json.loads(done.out)}
    assert set(rows) == {"onnx", "coreml", "litert", "tfjs", "coreai"}
    assert rows["onnx"]["unavailable"] == ""
    assert "onnxscript" in rows["onnx"]["packages"]
    assert done.verdict.endswith("of 5 targets can be exported here")


def test_inspect_a_folder_and_a_file(exported: Path, command: Command) -> None:
    folder = exported / "classifier/onnx/float32"
    whole_folder = json.loads(command("export", "inspect", folder, "--json").out)
    assert whole_folder["artifact"]["model"] == "classifier"
    one = json.loads(command("export", "inspect", folder / "classifier.onnx", "--json").out)
    assert one == {**whole_folder["files"]["classifier.onnx"]}
    assert one["entries"][0]["outputs"][0]["shape"] == [1, 10]
    assert one["weight_bytes"]["float32"] > 200_000
    shown = command("export", "inspect", folder)
    assert shown.code == 0
    assert "scores" in shown.out


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_inspect_a_damaged_file(exported: Path, command: Command, damage: str) -> None:
    path = exported / "classifier/onnx/float32/classifier.onnx"
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "noise": bytes(range(256)) * 9, "empty": b""}[damage])
    for asked, reason in ((path, "is not a valid ONNX file"), (path.parent, "does not match its seal")):
        done = command("export", "inspect", asked)
        assert done.code == 3
        assert reason in done.verdict
        assert "Traceback" not in done.err
