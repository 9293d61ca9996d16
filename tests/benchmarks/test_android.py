"""An attached Android device, driven by adbutils against a pretend phone: what works, and everything that breaks."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.device import Run, choose, conclude_device, run_device
from benchmarks.parity import Request
from benchmarks.profile import OpTime
from benchmarks.runtime import ON_REQUEST, load_runtime, run
from benchmarks.runtimes.android import AndroidRuntime, phone, tool
from benchmarks.runtimes.arm.cpus import CPUS
from benchmarks.runtimes.arm.emulator import command as emulated
from models.artifact import read_artifact
from models.errors import NothingJudged, StageError, UsageError
from models.spec import load_spec

Artifacts = Callable[[str, str, str], Path]
PROPERTIES = {
    "ro.product.model": "Pretend",
    "ro.product.cpu.abi": "x86_64",
    "ro.build.version.release": "16",
    "ro.kernel.qemu": "1",
}
THERMAL = "Thermal Status: 0\\n\\tTemperature{mValue=34.5, mType=3, mName=skin, mStatus=0}"


@dataclass(frozen=True, slots=True)
class Pretend:
    """The phone's folder, and what breaks it."""

    root: Path

    def breaks(self, how: str) -> None:
        (self.root / "fault").write_text(how)

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.root / "storage/data/local/tmp").iterdir())


@contextmanager
def attached(root: Path, folder: Path, properties: Mapping[str, str], tool: str) -> Iterator[Pretend]:
    """A phone that says `properties` of itself and on which benchmark_model is the shell command `tool`."""
    answers = " ".join(f"{key}) echo {value};;" for key, value in properties.items())
    programs = {
        "getprop": f"case $1 in {answers} esac",
        "dumpsys": f"case $1 in battery) echo temperature: 312; echo level: 80;; *) printf '{THERMAL}\\n';; esac",
    }
    (folder / "bin").mkdir(parents=True)
    for name, text in programs.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    binary = folder.parent / "benchmark_model"
    binary.write_text(f'#!/bin/sh\nexec {tool} {root / "tests/phones/benchmark_model.py"} "$@"\n')
    serve = [sys.executable, str(root / "tests/phones/server.py"), str(folder)]
    with pytest.MonkeyPatch.context() as patch, subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            patch.setenv("ANDROID_ADB_SERVER_PORT", server.stdout.readline().strip())
            patch.setenv("HYDRA_BENCHMARK_MODEL", str(binary))
            patch.delenv("HYDRA_ADB_SERIAL", raising=False)
            yield Pretend(folder)
        finally:
            server.kill()


@pytest.fixture
def pretend(root: Path, tmp_path: Path) -> Iterator[Pretend]:
    with attached(root, tmp_path / "phone", PROPERTIES, sys.executable) as phone:
        yield phone


@pytest.fixture
def arm_phone(root: Path, tmp_path: Path, arm: Path) -> Iterator[Pretend]:
    """A phone whose benchmark runs LiteRT's ARM code, emulated."""
    interpreter = shlex.join(emulated(arm, CPUS["a76"]))
    properties = {**PROPERTIES, "ro.product.cpu.abi": "arm64-v8a"}
    with attached(root, tmp_path / "phone", properties, interpreter) as phone:
        yield phone


@pytest.fixture
def command_line(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.delenv("HYDRA_BENCHMARK_MODEL", raising=False)
    return command


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
    document = run_device(request_of, Run("adb", seconds=0.1, cool=0))
    assert "comparisons hold on the device" in conclude_device(document)
    judged = [row for row in document["parity"] if row["measures"]]
    assert judged and {row["verdict"] for row in document["parity"]} == {"pass"}
    # An x86 emulator says so itself: this computer's numbers, whatever is plugged in where.
    assert {row["evidence"] for row in document["parity"]} == {"host"}
    (row,) = document["results"]
    assert (row["verdict"], row["reason"]) == ("untimed", "an emulator's time says nothing")
    assert row["device"]["model"] == "Pretend" and row["device"]["emulator"] and row["device"]["android"] == "16"
    assert "FAKE123" not in json.dumps(document)
    assert len(row["device"]["tool_sha256"]) == 64
    found = {item["configuration"]: item for item in row["configurations"]}
    assert set(found) == {"cpu-1", "cpu-4", "cpu-4-fp16", "cpu-4-builtin", "gpu"}
    assert found["cpu-1"]["before"] == {
        "thermal_status": 0,
        "temperatures": {"skin": 34.5},
        "battery": 31.2,
        "battery_level": 80,
    }
    assert all(entry["mean_ms"] > 0 and entry["peak_memory"] == 12.5 * 2**20 for entry in found["cpu-4"]["entries"])
    # This tool has no GPU delegate: that configuration says so, the others stand.
    assert all("Failed to apply GPU delegate" in entry["reason"] for entry in found["gpu"]["entries"])
    assert all(entry["kinds"][0]["kind"] == "CONV_2D" and entry["ms"] > 0 for entry in row["profile"])
    assert pretend.left() == []
    stored = json.loads((request_of.root / "device.json").read_text())
    assert stored["results"] == document["results"]


@pytest.mark.parametrize("entry_index", [0, -1])
def test_inputs_and_outputs_keep_their_places(
    runtime: AndroidRuntime, artifact: Artifacts, golden: Callable[[str], dict], entry_index: int
) -> None:
    """Several tensors in and out: as this computer's interpreter has them, to the bit."""
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


def test_arm_code_on_a_pretend_phone(arm_phone: Pretend, artifact: Artifacts, golden: Callable[[str], dict]) -> None:
    """Pushed, run as ARM code, pulled: what the emulated runtime computes by itself, to the bit; labelled so."""
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
    assert runtime.measure(folder, entry, "cpu-1", 0.1)["runs"] > 1
    assert runtime.operators(folder, entry)
    runtime.clean()
    assert arm_phone.left() == []


@pytest.mark.slow
def test_a_whole_run_of_arm_code(arm_phone: Pretend, request_of: Request) -> None:
    document = run_device(request_of, Run("adb", seconds=0.1, cool=0))
    assert "comparisons hold on the device" in conclude_device(document)
    assert {row["evidence"] for row in document["parity"]} == {"emulated-arm"}
    assert document["results"][0]["verdict"] == "untimed"
    assert "measured-on-device" not in json.dumps(document)
    assert arm_phone.left() == []


def opened(runtime: AndroidRuntime, artifact: Artifacts, golden: Callable[[str], dict]) -> object:
    folder = artifact("classifier", "litert", "float32")
    entry = read_artifact(folder).entries[0]
    session = runtime.open(folder, entry)
    values = golden("classifier")
    session.bind({port.name: values[port.name] for port in entry.inputs})
    return session


def test_a_cable_pulled_for_a_moment(
    pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts, golden: Callable[[str], dict]
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
    golden: Callable[[str], dict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clear error; and what stayed on the phone is removed as soon as it is back."""
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


def test_a_hung_benchmark_is_ended(
    pretend: Pretend,
    runtime: AndroidRuntime,
    artifact: Artifacts,
    golden: Callable[[str], dict],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Long enough for the stand-in to start on a busy machine: it is to hang, not to be late.
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
    """A whole run on a phone that is full: a row with the reason, exit code 3, nothing left."""
    pretend.breaks("full")
    document = run_device(request_of, Run("adb", seconds=0.1, cool=0))
    with pytest.raises(StageError, match="could not be written"):
        conclude_device(document)
    assert {row["verdict"] for row in document["parity"] if row["mode"] != "dtypes"} == {"failed"}
    assert document["results"][0]["verdict"] == "failed"
    assert pretend.left() == []


def test_a_wrong_tool_is_told(
    pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts, tmp_path: Path, golden: Callable[[str], dict]
) -> None:
    (tmp_path / "benchmark_model").write_text("#!/bin/sh\necho not for this processor; exit 126\n")
    session = opened(runtime, artifact, golden)
    with pytest.raises(StageError, match="exit code 126: not for this processor"):
        session.invoke()


def test_a_tool_that_ignores_a_flag_is_no_evidence(
    pretend: Pretend, runtime: AndroidRuntime, artifact: Artifacts, tmp_path: Path, golden: Callable[[str], dict]
) -> None:
    """An older one warns and runs the first signature, or in another precision."""
    binary = tmp_path / "benchmark_model"
    binary.write_text(
        f"{binary.read_text()}\n".replace("exec ", "echo WARN: Unconsumed cmdline flags: --some=x\nexec ")
    )
    session = opened(runtime, artifact, golden)
    with pytest.raises(StageError, match="too old or another program: it does not know --some=x"):
        session.invoke()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("and the model graph will be completely executed by the delegate.", "GPU, completely, 1 kernels"),
        (
            "and the model graph will be partially executed by the delegate w/ 3 delegate kernels.",
            "GPU, partially, 3 kernels",
        ),
    ],
)
def test_what_a_delegate_took(said: str, found: str) -> None:
    line = "INFO: Inference timings in us: Init: 5, First inference: 9, Warmup (avg): 8.5, Inference (avg): 1.2e+06"
    assert tool.read_timings(f"INFO: Explicitly applied GPU delegate, {said}\n{line}")["delegate"] == found
    fallback = "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    assert "delegate" not in tool.read_timings(f"{fallback}\n{line}")


def test_unavailable_with_what_would_help(
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
    assert "litert-android" in ON_REQUEST


def test_words_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_ADB_SERIAL", "")
    assert choose("adb") == "adb"
    assert choose("adb:ABC") == "adb" and os.environ["HYDRA_ADB_SERIAL"] == "ABC"
    for word in ("adv", "mac:mine", ""):
        with pytest.raises(UsageError, match="available: adb, adb:SERIAL, ios"):
            choose(word)
    with pytest.raises(UsageError, match="--cool -1"):
        Run("adb", cool=-1)


def test_the_command_says_what_is_missing(command_line: Callable[..., Any]) -> None:
    """Exit codes 2 and 4, each with what is available or would help."""
    wrong = command_line("benchmarks", "device", "--device", "adv")
    assert wrong.code == 2 and "no device 'adv' (available: adb, adb:SERIAL, ios, ios:NAME, mac)" in wrong.verdict
    none = command_line("benchmarks", "device", "--device", "adb", "--model", "tests/nets/classifier")
    assert none.code == 4 and "make bench-android TOOL=path" in none.verdict


@pytest.mark.parametrize(
    ("emulator", "abi", "evidence"),
    [(False, "arm64-v8a", "measured-on-device"), (True, "arm64-v8a", "emulated-arm"), (True, "x86_64", "host")],
)
def test_the_label_is_the_devices_own(emulator: bool, abi: str, evidence: str) -> None:
    assert phone.label({"emulator": emulator, "abi": abi}) == evidence


TIMINGS = """
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 2 delegate kernels.
INFO: count=4 first=9000 curr=8000 min=7900 max=9000 avg=8225 std=450
INFO: count=50 first=2049 curr=1936 min=1917 max=2131 avg=1940.5 std=33 p5=1917 median=1936 p95=1990
INFO: Inference timings in us: Init: 15000, First inference: 9000, Warmup (avg): 8225, Inference (avg): 1.9405e+03
INFO: Overall peak memory footprint (MB) via periodic monitoring: 30.25
"""  # noqa: E501  a line as the tool prints it


def test_timings_are_read() -> None:
    assert tool.read_timings(TIMINGS) == {
        "init_ms": 15.0, "first_ms": 9.0, "mean_ms": 1.9405, "runs": 50, "min_ms": 1.917, "max_ms": 2.131,
        "std_ms": 0.033, "p50_ms": 1.936, "p95_ms": 1.99, "peak_memory": 31719424,
        "delegate": "GPU, partially, 2 kernels",
    }  # fmt: skip
    with pytest.raises(StageError, match="printed no timings: Aborted"):
        tool.read_timings("Aborted")


PROFILE = """
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t ModifyGraphWithDelegate\t    1.000\t    1.000\t 100.0%\t 100.0%\t     0.000\t        1\tModifyGraphWithDelegate/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t Convolution (NHWC, F32) IGEMM\t    0.300\t    0.250\t 50.0%\t 50.0%\t     0.000\t        2\tDelegate/Convolution:0
\t                 RESIZE_BILINEAR\t    0.300\t    0.125\t 50.0%\t 100.0%\t     0.000\t        1\t[up]:7

============================== Top by Computation Time ==============================
"""


def test_a_profile_is_read() -> None:
    assert tool.read_profile(PROFILE) == [
        OpTime("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution:0", 0.5, 2.0),
        OpTime("RESIZE_BILINEAR", "[up]:7", 0.125, 1.0),
    ]
    with pytest.raises(StageError, match="no table of operators"):
        tool.read_profile("Aborted")


def test_integers_of_arm_code_survive_a_pulled_cable(
    arm_phone: Pretend, artifact: Artifacts, golden: Callable[[str], dict]
) -> None:
    """Static int8, run as ARM code on the phone after it went away and came back: bit for bit what x86 computes."""
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
def test_arm_code_that_breaks_is_told_and_cleaned_up(
    arm_phone: Pretend,
    artifact: Artifacts,
    golden: Callable[[str], dict],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    said: str,
) -> None:
    # Long enough for the emulated program to start on a busy machine: it is to hang, not to be late.
    monkeypatch.setattr("benchmarks.runtimes.android.HANG", 20.0)
    runtime = AndroidRuntime()
    assert runtime.bench.phone.attached()
    arm_phone.breaks(fault)
    with pytest.raises(StageError, match=said):
        run(opened(runtime, artifact, golden), golden("classifier"))
    runtime.clean()
    assert arm_phone.left() == []


@pytest.mark.usefixtures("adb_client")
def test_the_real_adb_client_talks_to_the_pretend_phone(pretend: Pretend, tmp_path: Path) -> None:
    """The driver's library speaks adb's protocol itself; so does Debian's client, to the same server."""

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
