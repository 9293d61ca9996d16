"""Ctrl-C and SIGTERM stop a command at once with its verdict; no worker outlives it, and its leftovers
are removed at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hydramobile.artifact import read_artifact, verify
from hydramobile.files import exchange, staging_folder, sweep
from support.fixtures import Command

SLOW = "\n        import time, pathlib\n        pathlib.Path('{started}').touch()\n        time.sleep(300)\n"


@pytest.fixture
def slow(own_model: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A model whose `forward` never returns, and the file that it makes when it is there."""
    folder, started = own_model("classifier"), tmp_path / "started"
    net = (folder / "net.py").read_text()
    at = net.rindex("    def forward(")
    head, body = net[at:].split("\n", 1)
    (folder / "net.py").write_text(f"{net[:at]}{head}{SLOW.format(started=started)}{body}")
    return folder, started


def begin(root: Path, started: Path, *words: object) -> subprocess.Popen[str]:
    """Start a command and wait until its worker runs the net."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, words)], cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not started.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.1)
    return process


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    assert found
    return found


def gone(processes: list[psutil.Process], seconds: float = 10.0) -> bool:
    _, left = psutil.wait_procs(processes, timeout=seconds)
    return not [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["export", "goldens"])
def test_a_signal(
    root: Path, slow: tuple[Path, Path], tmp_path: Path, number: signal.Signals, code: int, command: str
) -> None:
    verbs = {"export": ("export", "onnx", "--recipe", "float32"), "goldens": ("hydramobile", "goldens")}
    process = begin(root, slow[1], *verbs[command], "--model", slow[0], "--out", tmp_path / "out")
    children = workers(process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == code, output
    assert output.splitlines()[-1] == f"verdict: {code} interrupted"
    assert "Traceback" not in output
    assert gone(children)


def test_a_killed_command_leaves_no_worker(root: Path, slow: tuple[Path, Path], tmp_path: Path) -> None:
    process = begin(root, slow[1], "export", "onnx", "--model", slow[0], "--out", tmp_path / "out")
    children = workers(process)
    process.kill()
    process.communicate(timeout=30)
    assert gone(children)


def test_leftovers_are_removed_at_the_next_start(
    artifact: Callable[..., Path], out_with: Callable[..., Path], model_dir: Callable[[str], Path], command: Command
) -> None:
    out = out_with("classifier", artifact("classifier", "onnx", "float32"))
    folder = out / "classifier/onnx"
    (folder / ".float32.new-abc").mkdir()
    (folder / ".float32.new-abc/half").write_text("written")
    done = command("export", "onnx", "--model", model_dir("classifier"), "--out", out, "--recipe", "float32")
    assert done.code == 0, done.verdict
    assert not list(folder.glob(".*.new-*"))
    verify(folder / "float32", read_artifact(folder / "float32"))


def test_a_folder_in_work_is_not_removed(tmp_path: Path) -> None:
    from hydramobile.files import lock_of, locked

    with locked(lock_of(tmp_path / "float32")):
        (tmp_path / ".float32.new-abc").mkdir()
        sweep(tmp_path)
        assert (tmp_path / ".float32.new-abc").is_dir()
    sweep(tmp_path)
    assert not (tmp_path / ".float32.new-abc").exists()


def test_two_folders_change_places_in_one_step(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange folders")
    assert (tmp_path / "a/file").read_text() == "b"
    assert not exchange(tmp_path / "a", tmp_path / "missing")


def test_a_replacement_is_never_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the process is killed, the folder is there: renames of the destination itself never happen."""
    target = tmp_path / "target"
    target.mkdir()
    if not exchange(target, target):
        pytest.skip("this file system cannot exchange folders")
    monkeypatch.setattr(os, "rename", lambda *paths: pytest.fail(f"renamed {paths}"))
    with staging_folder(target) as staging:
        (staging / "file").write_text("new")
    assert (target / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_overwrite_deletes_no_folder_of_a_user(
    tmp_path: Path, model_dir: Callable[[str], Path], command: Command
) -> None:
    folder = tmp_path / "out/classifier/onnx/float32"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years")
    words = ("export", "onnx", "--model", model_dir("classifier"), "--out", tmp_path / "out", "--overwrite")
    done = command(*words, "--recipe", "float32")
    assert done.code == 2
    assert "is no artifact" in done.verdict
    assert (folder / "thesis.txt").read_text() == "years"
