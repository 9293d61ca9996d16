"""ARM code under qemu: a broken emulator raises an error, and a correct one judges artifacts."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime import GROUPS, load_runtime, on_request, resolve_runtimes, runs
from benchmarks.runtimes.arm import emulator, self_test, sysroot
from benchmarks.runtimes.arm.cpus import CPUS
from benchmarks.runtimes.arm.emulator import Emulator
from hydramobile.artifact import read_artifact
from hydramobile.errors import StageError

Artifacts = Callable[[str, str, str], Path]
Command = Callable[..., Any]
# Instructions of each class that the plugin counts: FMLA v0.4s by vector and by element, FMLA v0.8h by vector and by
# element, SDOT by vector and by element, UDOT, SMMLA.
FMLA = (0x4E22CC20, 0x4F821020)
FMLA_F16 = (0x4E420C20, 0x4F021020)
DOT = (0x4E829420, 0x4F82E020, 0x6E829420)
SMMLA = (0x4E82A420,)
RET = 0xD65F03C0


def code(*words: int) -> bytes:
    return struct.pack(f"<{len(words) + 1}I", *words, RET)


def test_the_self_test_expects_the_outputs_of_x86() -> None:
    """The committed outputs equal those of this computer's LiteRT and ONNX Runtime, to the bit."""
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    found = {case.engine: case for case in self_test.cases()}
    assert set(found) == {"litert", "ort"}
    case = found["litert"]
    runner = Interpreter(str(case.file), num_threads=1).get_signature_runner(case.function)
    made = runner(**{case.given: case.image()})[case.made].ravel()
    assert np.array_equal(made, np.array(case.values, np.float32))
    case = found["ort"]
    (made,) = onnxruntime.InferenceSession(case.file).run([case.made], {case.given: case.image()})
    assert np.array_equal(made.ravel(), np.array(case.values, np.float32))
    assert all(len(set(case.values)) > 5 for case in found.values())


def test_the_wheels_are_the_pinned_versions(root: Path) -> None:
    pins = (root / "constraints.txt").read_text(encoding="utf-8").split()
    lines = sysroot.REQUIREMENTS.read_text(encoding="utf-8").splitlines()[1:]
    assert lines and all(line.split(" --hash=sha256:")[0] in pins for line in lines)
    assert all(len(line.partition("sha256:")[2]) == 64 for line in lines)


def test_runtimes_on_request() -> None:
    assert all(map(on_request, GROUPS["arm"]))
    assert not set(GROUPS["arm"]) & set(resolve_runtimes([]))
    half = load_runtime("litert-arm-a76-fp16")
    assert runs(half, "litert", "float16") and not runs(half, "litert", "float32") and not runs(half, "onnx", "float16")
    assert {load_runtime(name).evidence for name in GROUPS["arm"]} == {"emulated-arm"}
    assert not any(load_runtime(name).timed for name in GROUPS["arm"])


def test_a_missing_userland_is_reported_with_the_command_that_helps(
    artifact: Artifacts,
    out_with: Callable[..., Path],
    command: Command,
    model_dir: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """Results of other runtimes do not count: the runtime that was asked for judged nothing."""
    out = out_with("classifier", artifact("classifier", "litert", "float32"))
    where = ("parity", "--model", model_dir("classifier"), "--out", out)
    assert command("benchmarks", *where, "--runtime", "litert").code == 0
    done = command("benchmarks", *where, "--runtime", "litert-arm-a76", env={"XDG_CACHE_HOME": str(tmp_path / "none")})
    assert done.code == 4
    assert "litert-arm-a76 is unavailable: " in done.verdict and "run: bash scripts/setup.sh arm" in done.verdict
    rows = json.loads((out / "classifier/parity.json").read_text())["results"]
    assert {row["verdict"] for row in rows if row["runtime"] == "litert-arm-a76"} == {"unavailable"}


def test_artifacts_are_judged_on_arm(
    arm: Path, artifact: Artifacts, out_with: Callable[..., Path], command: Command, model_dir: Callable[[str], Path]
) -> None:
    """LiteRT runs float, int8 and half precision, ONNX Runtime int8. x86 and ARM agree where they must."""
    pairs = [("litert", "float16"), ("litert", "w8a8"), ("onnx", "w8a8")]
    out = out_with("classifier", *(artifact("classifier", *pair) for pair in pairs))
    names = ("litert-arm-a76", "litert-arm-a76-fp16", "ort-arm-a53", "litert", "onnxruntime")
    asked = [word for name in names for word in ("--runtime", name)]
    done = command("benchmarks", "parity", "--model", model_dir("classifier"), "--out", out, "--most", "1", *asked)
    assert done.code == 0, done.out + done.err
    document = json.loads((out / "classifier/parity.json").read_text())
    rows = [row for row in document["results"] if row["measures"] and row["mode"] != "drawn"]
    assert {row["samples"] for row in rows} == {1} and len(document["samples"]) > 1
    errors = {
        (row["runtime"], row["recipe"]): {m["metric"]: m["value"] for m in row["measures"]}["mean_abs"] for row in rows
    }
    assert set(errors) == {
        *(("litert-arm-a76", "float16"), ("litert-arm-a76", "w8a8"), ("litert-arm-a76-fp16", "float16")),
        *(("ort-arm-a53", "w8a8"), ("litert", "float16"), ("litert", "w8a8"), ("onnxruntime", "w8a8")),
    }
    # Integers have one right answer, floats differ in the order of sums, and the error of fp16 arithmetic is larger.
    assert errors["litert-arm-a76", "w8a8"] == errors["litert", "w8a8"]
    assert errors["ort-arm-a53", "w8a8"] == errors["onnxruntime", "w8a8"]
    assert errors["litert-arm-a76", "float16"] == pytest.approx(errors["litert", "float16"], rel=1e-2)
    assert errors["litert-arm-a76-fp16", "float16"] > 2 * errors["litert-arm-a76", "float16"]
    facts = [row["facts"] for row in document["results"] if row["mode"] == "environment" and "arm" in row["runtime"]]
    guests = [fact["environment"]["emulator"] for fact in facts]
    assert guests and all(guest["machine"] == "aarch64" and guest["versions"]["numpy"] for guest in guests)
    assert all(row["runtime_version"]["cpu"].startswith("cortex-a") for row in rows if "arm" in row["runtime"])


def test_a_broken_emulator_raises_an_error(arm: Path) -> None:
    """qemu 7.2's `max` emulates SME, and computes LiteRT's int8 wrongly without an error."""
    broken = Emulator(replace(CPUS["a76"], model="max"))
    try:
        if "7.2" not in emulator_version():
            pytest.skip("only qemu 7.2 is known to compute wrongly")
        with pytest.raises(StageError, match=r"self-test: static int8 .* differs from x86 by .*no number of it"):
            self_test.check(broken.open, "litert")
    finally:
        broken.close()


def emulator_version() -> str:
    import subprocess

    done = subprocess.run([sysroot.QEMU, "--version"], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def test_the_error_names_an_instruction_that_the_processor_lacks(arm: Path) -> None:
    made = Emulator(CPUS["a53"])
    with pytest.raises(StageError, match=r"cortex-a53 \(emulated\) died in 'machine_code' .*SIGILL"):
        made.ask({"do": "machine_code", "runs": 1}, code(DOT[0]))
    made.close()
    # A new emulator replaces it.
    emulator.RUNNING["a53", False] = made
    assert emulator.trusted(CPUS["a53"], "litert") is not made
    emulator.RUNNING.pop(("a53", False)).close()


def test_the_guest_survives_a_refused_file(arm: Path, tmp_path: Path) -> None:
    made = Emulator(CPUS["a53"])
    (tmp_path / "broken.tflite").write_bytes(b"not a model")
    with pytest.raises(StageError, match=r"open on cortex-a53 \(emulated\): ValueError"):
        made.open("litert", tmp_path / "broken.tflite", "x", [])
    assert made.ask({"do": "hello"})[0]["features"] == CPUS["a53"].features.split()
    # LiteRT's compiled model loads a library built for ARMv8.1 and later: on this core a phone's app would die too.
    with pytest.raises(StageError, match=r"(?s)died in 'open' .*SIGILL.*compiled with lse enabled"):
        made.open("litert-fp16", tmp_path / "broken.tflite", "x", [])


def test_a_guest_that_hangs_is_killed(arm: Path) -> None:
    made = Emulator(CPUS["a53"])
    with pytest.raises(StageError, match="did not answer 'hello' in time"):
        made.ask({"do": "hello"}, limit=0.0)
    assert made.child.process.poll() is not None
    made.close()


def test_a_changed_userland_is_refused(arm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = sysroot.manifest()
    assert len(known["files"]) > 1000 and set(known["debs"]) == set(sysroot.DEBS)
    name = next(iter(known["files"]))
    monkeypatch.setattr(sysroot, "manifest", lambda: {"files": {name: "0" * 64}})
    with pytest.raises(StageError, match=rf"{name} is missing or was changed; remove .* and run: bash"):
        sysroot.verified.__wrapped__()
    monkeypatch.setattr(sysroot, "PLUGIN", sysroot.REQUIREMENTS)
    assert sysroot.sysroot() != arm


def test_the_error_names_a_broken_file(artifact: Artifacts, arm: Path, tmp_path: Path) -> None:
    """It names the stage and the file, and quotes the guest."""
    folder = Path(shutil.copytree(artifact("classifier", "litert", "float32"), tmp_path / "float32"))
    entry = read_artifact(folder).entries[0]
    (folder / entry.file).write_bytes((folder / entry.file).read_bytes()[:2000])
    with pytest.raises(StageError, match=r"open: .*classifier\.tflite: open on cortex-a53 \(emulated\): "):
        load_runtime("litert-arm-a53").open(folder, entry)


def counted(made: Emulator, words: tuple[int, ...], times: int) -> dict[str, int]:
    made.ask({"do": "machine_code", "runs": times}, code(*words))
    return made.counted()


def test_the_plugin_counts_known_instructions(arm: Path) -> None:
    """The difference between 2000 and 1000 runs of a hundred copies of known instructions."""
    made = Emulator(CPUS["v86"], counting=True)
    words = (*FMLA, *FMLA_F16, *DOT, *SMMLA) * 100
    less, more = (counted(made, words, times) for times in (1000, 2000))
    # The cost of the calls alone.
    idle_less, idle_more = (counted(made, (), times) for times in (1000, 2000))
    made.close()
    difference = {name: more[name] - less[name] for name in more}
    exact = {"fmla_f32": 200_000, "fmla_f16": 200_000, "dot": 300_000, "i8mm": 100_000}
    assert {name: difference[name] for name in exact} == exact
    idle = {name: idle_more[name] - idle_less[name] for name in idle_more}
    assert not any(idle[name] for name in exact)
    assert difference["total"] - idle["total"] == pytest.approx(800_000, rel=0.01)
    assert difference["simd"] - idle["simd"] == pytest.approx(800_000, abs=100)
    assert difference["memory"] == pytest.approx(idle["memory"], rel=0.02)
