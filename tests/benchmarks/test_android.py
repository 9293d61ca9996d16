"""An attached Android device, as adbutils drives a simulated phone: a whole run, and every fault."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.device.run import Run, conclude_device, run_device
from benchmarks.evidence.device import Condition, DeviceEvidence
from benchmarks.evidence.envelope import read, to_json
from benchmarks.request import Request
from benchmarks.runtime import Session, load_runtime, on_request, run
from benchmarks.runtimes.android import AndroidRuntime, phone
from hydramobile.artifact import read_artifact
from hydramobile.errors import NothingJudged, StageError
from hydramobile.spec import load_spec
from support.fixtures import Golden

Artifacts = Callable[[str, str, str], Path]
Pretend = Any


@pytest.fixture
def runtime(pretend: Pretend) -> Iterator[AndroidRuntime]:
    made = AndroidRuntime()
    yield made
    made.clean()


@pytest.fixture
def request_of(
    artifact: Artifacts, build: Callable[[str], Path], model_dir: Callable[[str], Path], tmp_path: Path
) -> Request:
    shutil.copytree(build("classifier"), tmp_path / "out")
    shutil.copytree(artifact("classifier", "litert", "float32"), tmp_path / "out/classifier/litert/float32")
    return Request(load_spec(model_dir("classifier")), tmp_path / "out", only=(("litert", "float32"),))


def test_push_run_pull_judge_time_and_profile(pretend: Pretend, request_of: Request) -> None:
    measured = run_device(request_of, Run("adb", seconds=0.1, cool=0))
    assert "comparisons hold on the device" in conclude_device(measured)
    cpu = [row for row in measured.parity if row.runtime == "litert-android"]
    assert any(row.measures for row in cpu) and {row.verdict for row in cpu} == {"pass"}
    # An x86 emulator reports that it is one: its outputs are this computer's.
    assert {row.evidence for row in measured.parity} == {"host"}
    (row,) = measured.evidence.results
    assert (row.verdict, row.reason) == ("untimed", "an emulator's time says nothing")
    assert row.device and row.device.model == "Pretend" and row.device.emulator and row.device.android == "16"
    assert "FAKE123" not in to_json(measured)
    assert len(row.device.tool_sha256) == 64
    found = {item.configuration: item for item in row.configurations}
    assert set(found) == {"cpu-1", "cpu-4", "cpu-4-fp16", "cpu-4-builtin", "gpu"}
    warm = Condition(thermal_status=0, temperatures={"skin": 34.5}, battery=31.2, battery_level=80)
    assert found["cpu-1"].before == warm
    assert all(entry.mean_ms and entry.peak_memory == 12.5 * 2**20 for entry in found["cpu-4"].entries)
    # This tool has no GPU delegate: that configuration says so, and the others are measured.
    assert all("Failed to apply GPU delegate" in entry.reason for entry in found["gpu"].entries)
    assert all(entry.kinds[0].kind == "CONV_2D" and entry.ms > 0 for entry in row.profile)
    assert row.evaluator and row.evaluator.reason == "litert-android shows no intermediate tensors"
    assert pretend.left() == []
    assert read(DeviceEvidence, request_of.root / "device.json") == measured.evidence


@pytest.mark.parametrize("entry_index", [0, -1])
def test_inputs_and_outputs_keep_their_order(
    runtime: AndroidRuntime, artifact: Artifacts, golden: Golden, entry_index: int
) -> None:
    """An entry with several inputs and outputs equals this computer's interpreter, to the bit."""
    folder = artifact("mixed", "litert", "float32")
    entry = read_artifact(folder).entries[entry_index]
    values = golden("mixed")
    made = []
    for each in (runtime, load_runtime("litert")):
        session = each.open(folder, entry)
        session.bind({port.name: values[port.name] for port in entry.inputs})
        session.invoke()
        made.append(session.fetch())
        session.close()
    assert set(made[0]) == {port.name for port in entry.outputs}
    for name, value in made[0].items():
        assert value.tobytes() == made[1][name].tobytes()


def test_arm_code_on_a_simulated_phone(arm_phone: Pretend, artifact: Artifacts, golden: Golden) -> None:
    """The outputs equal those of the emulated runtime, to the bit, and have its evidence label."""
    runtime = AndroidRuntime()
    assert runtime.evidence == "emulated-arm"
    folder = artifact("classifier", "litert", "float32")
    entry = read_artifact(folder).entries[0]
    inputs = {port.name: golden("classifier")[port.name] for port in entry.inputs}
    made = []
    for each in (runtime, load_runtime("litert-arm-a76")):
        session = each.open(folder, entry)
        made.append(run(session, inputs))
        session.close()
    assert all(value.tobytes() == made[1][name].tobytes() for name, value in made[0].items())
    assert runtime.measure(folder, entry, "cpu-1", 0.1).runs > 1
    assert runtime.operators(folder, entry)
    runtime.clean()
    assert arm_phone.left() == []


@pytest.mark.slow
def test_a_whole_run_of_arm_code(arm_phone: Pretend, request_of: Request) -> None:
    measured = run_device(request_of, Run("adb", seconds=0.1, cool=0))
    assert "comparisons hold on the device" in conclude_device(measured)
    assert {row.evidence for row in measured.parity} == {"emulated-arm"}
    assert measured.evidence.results[0].verdict == "untimed"
    assert "measured-on-device" not in to_json(measured)
    assert arm_phone.left() == []


def opened(runtime: AndroidRuntime, artifact: Artifacts, golden: Golden) -> Session:
    folder = artifact("classifier", "litert", "float32")
    entry = read_artifact(folder).entries[0]
    session = runtime.open(folder, entry)
    values = golden("classifier")
    session.bind({port.name: values[port.name] for port in entry.inputs})
    return session


def test_a_cable_pulled_for_a_moment(
    pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts, golden: Golden
) -> None:
    session = opened(runtime, artifact, golden)
    pretend.breaks("vanish 1.5")
    session.invoke()
    assert session.fetch()
    runtime.clean()
    assert pretend.left() == []


def test_a_cable_pulled_for_good(
    pretend: Pretend,
    runtime: AndroidRuntime,
    artifact: Artifacts,
    golden: Golden,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is clear, and the files that stayed on the phone are removed once it is back."""
    monkeypatch.setattr(phone, "RETURN", 0.3)
    session = opened(runtime, artifact, golden)
    pretend.breaks("vanish 4")
    with pytest.raises(StageError, match=r"FAKE123 went away during"):
        session.invoke()
    attached = runtime.bench.phone
    assert runtime.clean() == []
    assert len(pretend.left()) == 1
    assert attached.returned(10)
    later = AndroidRuntime()
    assert later.bench.phone.root.split("/")[-1] in pretend.left() and len(pretend.left()) == 1
    later.clean()
    assert pretend.left() == []


def test_a_full_disk(pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts) -> None:
    runtime.bench.phone.identity()
    pretend.breaks("full")
    folder = artifact("classifier", "litert", "float32")
    with pytest.raises(StageError, match=r"push: .*could not be written on FAKE123; .* MB are free there, .* MB were"):
        runtime.open(folder, read_artifact(folder).entries[0])
    runtime.clean()
    assert pretend.left() == []


def test_a_hung_benchmark_is_killed(
    pretend: Pretend,
    runtime: AndroidRuntime,
    artifact: Artifacts,
    golden: Golden,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Long enough for the simulated tool to start on a busy machine: it must hang, not be late.
    monkeypatch.setattr("benchmarks.runtimes.android.HANG", 12.0)
    session = opened(runtime, artifact, golden)
    pretend.breaks("hang")
    with pytest.raises(StageError, match=r"benchmark_model hung for 12 s and was ended: .*STARTING"):
        session.invoke()
    number = (pretend.root / "storage" / runtime.bench.phone.root.lstrip("/") / "pid").read_text().strip()
    state = Path(f"/proc/{number}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
    runtime.clean()
    assert pretend.left() == []


def test_faults_become_rows(pretend: Pretend, request_of: Request) -> None:
    """A whole run on a full phone has a row with the reason, raises an error, and leaves nothing behind."""
    pretend.breaks("full")
    measured = run_device(request_of, Run("adb", seconds=0.1, cool=0))
    with pytest.raises(StageError, match="could not be written"):
        conclude_device(measured)
    # The dtypes are read from the file and the environment from the phone: only these rows do not fail.
    verdicts = {row.verdict for row in measured.parity if row.mode not in ("dtypes", "environment")}
    assert verdicts == {"failed"}
    assert measured.evidence.results[0].verdict == "failed"
    assert pretend.left() == []


def test_a_wrong_tool_is_reported(
    pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts, tmp_path: Path, golden: Golden
) -> None:
    (tmp_path / "benchmark_model").write_text("#!/bin/sh\necho not for this processor; exit 126\n")
    session = opened(runtime, artifact, golden)
    with pytest.raises(StageError, match="exit code 126: not for this processor"):
        session.invoke()


def test_a_tool_that_ignores_a_flag_is_no_evidence(
    pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts, tmp_path: Path, golden: Golden
) -> None:
    """An older tool warns, and runs the first signature or another precision."""
    binary = tmp_path / "benchmark_model"
    binary.write_text(
        f"{binary.read_text()}\n".replace("exec ", "echo WARN: Unconsumed cmdline flags: --some=x\nexec ")
    )
    session = opened(runtime, artifact, golden)
    with pytest.raises(StageError, match="too old or another program: it does not know --some=x"):
        session.invoke()


def test_unavailable_names_what_would_help(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, request_of: Request
) -> None:
    runtime = AndroidRuntime()
    assert runtime.unavailable() is None
    monkeypatch.setenv("HYDRA_ADB_SERIAL", "OTHER")
    assert runtime.unavailable() == "no device 'OTHER' is attached (attached: FAKE123)"
    monkeypatch.setenv("HYDRA_BENCHMARK_MODEL", "/nowhere/benchmark_model")
    assert "there is no file /nowhere/benchmark_model" in str(runtime.unavailable())
    monkeypatch.delenv("HYDRA_BENCHMARK_MODEL")
    with pytest.raises(NothingJudged, match="no benchmark_model was named"):
        run_device(request_of, Run("adb"))
    assert on_request("litert-android")


def test_integers_of_arm_code_survive_a_pulled_cable(arm_phone: Pretend, artifact: Artifacts, golden: Golden) -> None:
    """Static int8 as ARM code equals x86 to the bit, after the phone went away and came back."""
    folder = artifact("classifier", "litert", "w8a8")
    entry = read_artifact(folder).entries[0]
    inputs = {port.name: golden("classifier")[port.name] for port in entry.inputs}
    expected = run(load_runtime("litert").open(folder, entry), inputs)
    runtime = AndroidRuntime()
    session = runtime.open(folder, entry)
    arm_phone.breaks("vanish 1.5")
    made = run(session, inputs)
    assert made and all(value.tobytes() == expected[name].tobytes() for name, value in made.items())
    runtime.clean()
    assert arm_phone.left() == []


@pytest.mark.parametrize(("fault", "said"), [("full", r"could not be written on"), ("hang", r"hung for 20 s and was")])
def test_a_fault_of_arm_code_is_reported_and_cleaned_up(
    arm_phone: Pretend,
    artifact: Artifacts,
    golden: Golden,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    said: str,
) -> None:
    # Long enough for the emulated program to start on a busy machine: it must hang, not be late.
    monkeypatch.setattr("benchmarks.runtimes.android.HANG", 20.0)
    runtime = AndroidRuntime()
    assert runtime.bench.phone.attached()
    arm_phone.breaks(fault)
    with pytest.raises(StageError, match=said):
        run(opened(runtime, artifact, golden), golden("classifier"))
    runtime.clean()
    assert arm_phone.left() == []


@pytest.mark.usefixtures("adb_client")
def test_the_real_adb_client_talks_to_the_simulated_phone(pretend: Pretend, tmp_path: Path) -> None:
    """adbutils implements adb's protocol itself. Debian's client talks to the same server."""

    def adb(*words: str) -> str:
        return subprocess.run(["adb", *words], capture_output=True, text=True, check=True, timeout=60).stdout

    assert "FAKE123\tdevice" in adb("devices")
    (tmp_path / "there").write_bytes(bytes(range(256)) * 1000)
    adb("push", str(tmp_path / "there"), "/data/local/tmp/there")
    adb("pull", "/data/local/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    assert adb("shell", "getprop", "ro.product.cpu.abi").strip() == "x86_64"
    adb("shell", "rm", "/data/local/tmp/there")
    assert pretend.left() == []
