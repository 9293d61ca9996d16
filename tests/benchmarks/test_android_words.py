"""The output of benchmark_model and the options of the command line: parsed, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.device.run import Run, choose
from benchmarks.evidence.device import DeviceInfo, Timings
from benchmarks.evidence.profile import OpTime
from benchmarks.runtimes.android import phone, tool
from hydramobile.errors import StageError, UsageError


@pytest.fixture
def command_line(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.delenv("HYDRA_BENCHMARK_MODEL", raising=False)
    return command


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
def test_the_delegate_is_parsed(said: str, found: str) -> None:
    line = "INFO: Inference timings in us: Init: 5, First inference: 9, Warmup (avg): 8.5, Inference (avg): 1.2e+06"
    assert tool.read_timings(f"INFO: Explicitly applied GPU delegate, {said}\n{line}").delegate == found
    fallback = "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    assert tool.read_timings(f"{fallback}\n{line}").delegate == ""


def test_devices_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_ADB_SERIAL", "")
    assert choose("adb") == "adb"
    assert choose("adb:ABC") == "adb" and os.environ["HYDRA_ADB_SERIAL"] == "ABC"
    for word in ("adv", "mac:mine", ""):
        with pytest.raises(UsageError, match="available: adb, adb:SERIAL, ios"):
            choose(word)
    with pytest.raises(UsageError, match="--cool -1"):
        Run("adb", cool=-1)


def test_the_verdict_names_what_is_missing(command_line: Callable[..., Any]) -> None:
    """Exit code 2 comes with the available devices, 4 with the command that would help."""
    wrong = command_line("benchmarks", "device", "--device", "adv")
    assert wrong.code == 2 and "no device 'adv' (available: adb, adb:SERIAL, ios, ios:NAME, mac)" in wrong.verdict
    none = command_line("benchmarks", "device", "--device", "adb", "--model", "tests/nets/classifier")
    assert none.code == 4 and "make bench-android TOOL=path" in none.verdict


@pytest.mark.parametrize(
    ("emulator", "abi", "evidence"),
    [(False, "arm64-v8a", "measured-on-device"), (True, "arm64-v8a", "emulated-arm"), (True, "x86_64", "host")],
)
def test_the_label_depends_on_what_the_device_reports(emulator: bool, abi: str, evidence: str) -> None:
    assert phone.label(DeviceInfo(emulator=emulator, abi=abi)) == evidence


TIMINGS = """
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 2 delegate kernels.
INFO: count=4 first=9000 curr=8000 min=7900 max=9000 avg=8225 std=450
INFO: count=50 first=2049 curr=1936 min=1917 max=2131 avg=1940.5 std=33 p5=1917 median=1936 p95=1990
INFO: Inference timings in us: Init: 15000, First inference: 9000, Warmup (avg): 8225, Inference (avg): 1.9405e+03
INFO: Overall peak memory footprint (MB) via periodic monitoring: 30.25
"""  # noqa: E501  a line as the tool prints it


def test_timings_are_parsed() -> None:
    assert tool.read_timings(TIMINGS) == Timings(
        init_ms=15.0, first_ms=9.0, mean_ms=1.9405, runs=50, min_ms=1.917, max_ms=2.131,
        std_ms=0.033, p50_ms=1.936, p95_ms=1.99, peak_memory=31719424,
        delegate="GPU, partially, 2 kernels",
    )  # fmt: skip
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


def test_a_profile_is_parsed() -> None:
    assert tool.read_profile(PROFILE) == [
        OpTime("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution:0", 0.5, 2.0),
        OpTime("RESIZE_BILINEAR", "[up]:7", 0.125, 1.0),
    ]
    with pytest.raises(StageError, match="no table of operators"):
        tool.read_profile("Aborted")
