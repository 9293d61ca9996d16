"""Faults of the machine and of a user's code, one function each: what is done, and what must hold afterwards.

A function returns how the command ended, in words, and raises AssertionError where it ended wrongly. Every command is a
process of its own, as a user starts it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from campaign.inputs import PHOTOS, World, own_build
from campaign.runner import ROOT, Outcome
from campaign.server import left_over
from hydramobile.artifact import artifact_folder, read_in_place, verify

SECONDS = 180.0
# unshare(2)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
# Appended to a net's file: its first module does something else before it computes.
SPOIL = """
inner = build


def build():
    net = inner()
    module = next(iter(net.values())) if isinstance(net, dict) else net
    forward = module.forward

    def spoiled(image):
        {body}
        return forward(image)

    module.forward = spoiled
    return net
"""


def ran(
    words: list[object],
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
    after: tuple[float, int] | None = None,
    folder: Path = ROOT,
) -> Outcome:
    """Run `python -m WORDS...`; `before` runs in the child, `after` sends a signal after some seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(env or {})}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before,
    )
    if after is not None:
        time.sleep(after[0])
        os.kill(process.pid, after[1])
    try:
        out, err = process.communicate(timeout=SECONDS)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        code = None
    return Outcome(code, out, err, time.monotonic() - started, left_over(process.pid))


def export_words(world: World, out: Path, *more: object) -> list[object]:
    return ["export", "onnx", "--model", world.model, "--out", out, "--recipe", "float32", *more]


def must(outcome: Outcome, *allowed: int) -> str:
    """Assert that the command ended with one of the codes, a verdict, no traceback, no orphan; return its verdict."""
    fault = outcome.fault(allowed)
    assert not fault, f"{fault}\n{outcome.err[-500:]}"
    lines = [line for line in (outcome.out + outcome.err).splitlines() if line.startswith("verdict: ")]
    return lines[-1].removeprefix("verdict: ")


def intact(out: Path) -> None:
    """Assert that the artifact onnx/float32 is there and matches its seal."""
    folder = artifact_folder(out, "classifier", "onnx", "float32")
    verify(folder, read_in_place(folder))


def stopped(world: World, folder: Path, number: int, seconds: float, *allowed: int) -> str:
    """Send a signal to an export that replaces an artifact; the old one must stay or the new one be there."""
    out = own_build(world, folder)
    (world.model / "weights.safetensors").touch()
    words = export_words(world, out, "--overwrite", "--recipe", "float16")
    outcome = ran(words, after=(seconds, number))
    intact(out)
    if number == signal.SIGKILL:
        assert outcome.orphans == 0, f"{outcome.orphans} workers outlived their command"
        return f"killed after {seconds:g} s; the artifact is whole, no process is left"
    return must(outcome, *allowed)


def ctrl_c_early(world: World, folder: Path) -> str:
    return stopped(world, folder, signal.SIGINT, 1.5, 130)


def ctrl_c_late(world: World, folder: Path) -> str:
    return stopped(world, folder, signal.SIGINT, 5, 0, 130)


def sigterm(world: World, folder: Path) -> str:
    return stopped(world, folder, signal.SIGTERM, 3, 143)


def kill_early(world: World, folder: Path) -> str:
    return stopped(world, folder, signal.SIGKILL, 2)


def kill_late(world: World, folder: Path) -> str:
    return stopped(world, folder, signal.SIGKILL, 6)


def ctrl_c_in_parity(world: World, folder: Path) -> str:
    out = own_build(world, folder)
    words: list[object] = ["benchmarks", "parity", "--model", world.model, "--out", out, "--again"]
    return must(ran([*words, "--runtime", "onnxruntime"], after=(2, signal.SIGINT)), 0, 130)


def two_exports_at_once(world: World, folder: Path) -> str:
    out = folder / "out"
    command = [sys.executable, "-m", *map(str, export_words(world, out))]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    texts = [process.communicate(timeout=SECONDS)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    intact(out)
    return "both ended with 0; one exported, the artifact is whole"


def full_disk(world: World, folder: Path) -> str:
    """No file may grow beyond 20 kB, which is what a full disk looks like to a writer."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = own_build(world, folder)
    end = must(ran(export_words(world, out, "--overwrite", "--recipe", "float16"), before=limit), 3)
    intact(out)
    return end


def out_is_a_file(world: World, folder: Path) -> str:
    (folder / "out").write_text("mine")
    end = must(ran(export_words(world, folder / "out")), 2, 3)
    assert (folder / "out").read_text() == "mine"
    return end


def no_folder_for_temporary_files(world: World, folder: Path) -> str:
    return must(ran(export_words(world, folder / "out"), env={"TMPDIR": str(folder / "absent")}), 0, 3)


def no_home_and_plain_locale(world: World, folder: Path) -> str:
    env = {"HOME": "/nonexistent", "LC_ALL": "C", "PYTHONUTF8": "0"}
    return must(ran(export_words(world, folder / "out"), env=env), 0)


def a_folder_with_odd_letters(world: World, folder: Path) -> str:
    odd = folder / "out [bold] ünï $(id) 'x'"
    end = must(ran(export_words(world, odd)), 0)
    intact(odd)
    return end


def a_pipe_named_like_a_photo(world: World, folder: Path) -> str:
    os.mkfifo(folder / "photo.jpg")
    return must(ran(["reference", "infer", folder / "photo.jpg", "--out", folder / "maps"]), 3)


def an_endless_device_named_like_a_photo(world: World, folder: Path) -> str:
    (folder / "photo.png").symlink_to("/dev/zero")
    return must(ran(["reference", "infer", folder / "photo.png", "--out", folder / "maps"]), 3)


def a_folder_named_like_a_photo(world: World, folder: Path) -> str:
    (folder / "photo.jpg").mkdir()
    return must(ran(["reference", "infer", folder / "photo.jpg", "--out", folder / "maps"]), 3)


def a_link_to_itself_as_a_model(world: World, folder: Path) -> str:
    (folder / "model").symlink_to(folder / "model")
    return must(ran(["export", "list", folder / "model"]), 2, 3)


def a_net_that_ends_the_process(world: World, folder: Path) -> str:
    return spoiled(world, folder, "import sys; sys.exit(0)", "SystemExit")


def a_net_that_crashes(world: World, folder: Path) -> str:
    return spoiled(world, folder, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV")


def a_net_that_raises(world: World, folder: Path) -> str:
    return spoiled(world, folder, "raise RuntimeError('[/x] wrong')", "[/x] wrong")


def a_net_that_answers_otherwise_each_time(world: World, folder: Path) -> str:
    return spoiled(world, folder, "import torch; image = image + torch.rand_like(image)", "the second time")


def spoiled(world: World, folder: Path, body: str, expected: str) -> str:
    """Export and run a net whose forward does something else first. Both verdicts must say `expected`."""
    model = folder / "classifier"
    shutil.copytree(world.model, model)
    net = model / "net.py"
    net.write_text(net.read_text() + SPOIL.format(body=body))
    where: list[object] = ["--model", model, "--out", folder / "out"]
    outcomes = ran(["export", "onnx", *where, "--recipe", "float32"]), ran(["hydramobile", "goldens", *where])
    ends = [must(outcome, 3) for outcome in outcomes]
    for outcome in outcomes:
        assert expected in outcome.out + outcome.err, f"{expected!r} is not told: {ends}"
    return ends[0]


def a_reader_that_has_gone(world: World, folder: Path) -> str:
    script = f"{sys.executable} -m export list {world.model} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode in (0, 141) and "Traceback" not in done.stderr, (done.returncode, done.stderr)
    return f"{done.returncode}, without a word"


def a_deleted_artifact(world: World, folder: Path) -> str:
    """A file that must ship is gone since parity: parity says so."""
    out = own_build(world, folder)
    shutil.rmtree(artifact_folder(out, "classifier", "onnx", "float32"))
    words: list[object] = ["benchmarks", "parity", "--model", world.model, "--out", out, "--runtime", "onnxruntime"]
    return must(ran(words), 3)


def a_flipped_byte(world: World, folder: Path) -> str:
    """A byte of an exported file flips after parity: the report and packages refuse it."""
    out = own_build(world, folder)
    model = next(artifact_folder(out, "classifier", "onnx", "float32").glob("*.onnx"))
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    where = ["--model", world.model, "--out", out]
    report = ran(["benchmarks", "report", *where])
    must(report, 0, 1, 3, 4)
    assert "✓ ships" not in (out / "classifier/report.md").read_text() if report.code == 0 else True
    return must(ran(["export", "bundle", "web", *where, "--recipe", "float32", "--to", folder / "package"]), 3)


def two_photos_of_one_name(world: World, folder: Path) -> str:
    """Two photos whose names differ in their suffix alone are two samples."""
    from PIL import Image

    for name, suffix in zip(PHOTOS, ("png", "jpg"), strict=False):
        Image.open(ROOT / "models/portrait/samples" / name).convert("RGB").resize((96, 96)).save(
            folder / f"one.{suffix}"
        )
    words = ["hydramobile", "goldens", "--model", world.model, "--out", own_build(world, folder), "--samples", folder]
    end = must(ran(words), 0)
    assert end.startswith("0 goldens of 2 samples"), end
    return end


def no_network(world: World, folder: Path) -> str:
    """Without any network, loopback included, a browser is unavailable: no row fails, and none passes."""
    words: list[object] = ["benchmarks", "parity", "--model", world.model, "--out", own_build(world, folder)]
    outcome = ran([*words, "--runtime", "browser", "--only", "onnx/float32"], before=leave_network)
    assert "loopback" in outcome.out + outcome.err, (outcome.out + outcome.err)[-500:]
    return must(outcome, 4)


def leave_network() -> None:
    """Move this process into a network namespace of its own, as a user of a user namespace of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no namespaces here")


FAULTS = (
    no_network,
    ctrl_c_early,
    ctrl_c_late,
    sigterm,
    kill_early,
    kill_late,
    ctrl_c_in_parity,
    two_exports_at_once,
    full_disk,
    out_is_a_file,
    no_folder_for_temporary_files,
    no_home_and_plain_locale,
    a_folder_with_odd_letters,
    a_pipe_named_like_a_photo,
    an_endless_device_named_like_a_photo,
    a_folder_named_like_a_photo,
    a_link_to_itself_as_a_model,
    a_net_that_ends_the_process,
    a_net_that_crashes,
    a_net_that_raises,
    a_net_that_answers_otherwise_each_time,
    a_reader_that_has_gone,
    a_deleted_artifact,
    a_flipped_byte,
    two_photos_of_one_name,
)
