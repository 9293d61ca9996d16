"""The Android driver against a pretend phone that is an ARM one: what it runs, qemu runs, and the label says so."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.device import Run, conclude_device, run_device
from benchmarks.parity import Request
from benchmarks.runtime import load_runtime, run
from benchmarks.runtimes.android import AndroidRuntime
from benchmarks.runtimes.arm import CPUS
from benchmarks.runtimes.arm.emulator import command as emulated
from models.artifact import read_artifact
from models.errors import StageError
from models.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
PROPERTIES = {
    "ro.product.model": "Emulated",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.release": "16",
    "ro.kernel.qemu": "1",
}


@dataclass(frozen=True, slots=True)
class ArmPhone:
    root: Path

    def breaks(self, how: str) -> None:
        (self.root / "fault").write_text(how)

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.root / "storage/data/local/tmp").iterdir())


@pytest.fixture
def phone(arm: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArmPhone]:
    """A pretend phone whose benchmark_model is ARM code: LiteRT's aarch64 library on an emulated Cortex-A76."""
    folder = tmp_path / "phone"
    cases = " ".join(f"{key}) echo {value};;" for key, value in PROPERTIES.items())
    programs = {"getprop": f"case $1 in {cases} esac", "dumpsys": "echo Thermal Status: 0"}
    (folder / "bin").mkdir(parents=True)
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    binary = tmp_path / "benchmark_model"
    words = [*emulated(arm, CPUS["a76"]), str(root / "tests/phones/benchmark_model.py")]
    binary.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    server = [sys.executable, str(root / "tests/phones/server.py"), str(folder)]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", process.stdout.readline().strip())
            monkeypatch.setenv("HYDRA_BENCHMARK_MODEL", str(binary))
            monkeypatch.delenv("HYDRA_ADB_SERIAL", raising=False)
            yield ArmPhone(folder)
        finally:
            process.kill()


@pytest.mark.slow
def test_parity_on_the_phone_is_judged_and_labelled_emulated(
    phone: ArmPhone, artifact: Artifacts, out_with: Callable[..., Path], model_dir: Callable[[str], Path]
) -> None:
    out = out_with("classifier", artifact("classifier", "litert", "w8a8"))
    asked = Request(load_spec(model_dir("classifier")), out, only=(("litert", "w8a8"),), most=1)
    document = run_device(asked, Run("adb", seconds=0.1, cool=0))
    assert "hold on the device" in conclude_device(document)
    judged = [row for row in document["parity"] if row["measures"]]
    assert judged and {(row["verdict"], row["evidence"]) for row in judged} == {("pass", "emulated-arm")}
    (row,) = document["results"]
    assert (row["verdict"], row["reason"]) == ("untimed", "an emulator's time says nothing")
    assert phone.left() == []


def test_integers_are_the_same_on_the_phone(
    phone: ArmPhone, artifact: Artifacts, golden: Callable[[str], dict]
) -> None:
    """Pushed, run as ARM code, pulled: bit for bit what x86 computes, after a cable was pulled in between as well."""
    folder = artifact("classifier", "litert", "w8a8")
    entry = read_artifact(folder).entries[0]
    inputs = {port.name: golden("classifier")[port.name] for port in entry.inputs}
    here = load_runtime("litert").open(folder, entry)
    runtime = AndroidRuntime()
    try:
        there = runtime.open(folder, entry)
        phone.breaks("vanish 1.5")
        made, expected = run(there, inputs), run(here, inputs)
        assert {name: value.tobytes() for name, value in made.items()} == {
            name: value.tobytes() for name, value in expected.items()
        }
    finally:
        runtime.clean()
    assert phone.left() == []


@pytest.mark.parametrize(
    ("fault", "said"), [("full", r"could not be written on FAKE123"), ("hang", r"benchmark_model hung for 20 s")]
)
def test_what_breaks_is_told_and_cleaned_up(
    phone: ArmPhone,
    artifact: Artifacts,
    golden: Callable[[str], dict],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    said: str,
) -> None:
    # Long enough for the emulated program to start on a busy machine: it is to hang, not to be late.
    monkeypatch.setattr("benchmarks.runtimes.android.HANG", 20.0)
    folder = artifact("classifier", "litert", "w8a8")
    entry = read_artifact(folder).entries[0]
    runtime = AndroidRuntime()
    assert runtime.bench.phone.attached()
    phone.breaks(fault)
    with pytest.raises(StageError, match=said):
        run(runtime.open(folder, entry), {port.name: golden("classifier")[port.name] for port in entry.inputs})
    runtime.clean()
    assert phone.left() == []


def test_the_real_adb_client_talks_to_it(phone: ArmPhone, tmp_path: Path) -> None:
    if shutil.which("adb") is None:
        pytest.skip("adb is not installed (scripts/setup.sh android)")

    def adb(*words: str) -> str:
        done = subprocess.run(
            ["adb", *words], capture_output=True, text=True, check=True, timeout=60, env=dict(os.environ)
        )
        return done.stdout

    assert "FAKE123\tdevice" in adb("devices")
    (tmp_path / "there").write_bytes(bytes(range(256)) * 1000)
    adb("push", str(tmp_path / "there"), "/data/local/tmp/there")
    adb("pull", "/data/local/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    assert adb("shell", "getprop", "ro.product.cpu.abi").strip() == "arm64-v8a"
    assert "there" in adb("shell", "ls", "/data/local/tmp")
    adb("shell", "rm", "/data/local/tmp/there")
    assert phone.left() == []
