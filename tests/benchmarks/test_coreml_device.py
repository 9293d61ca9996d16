"""The runtimes of iPhone and Mac, with a stand-in for Apple's devicectl. Predictions need a Mac, and are not tested."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.adapters.coreml import as_feature
from benchmarks.device.run import Run, conclude_device, run_device
from benchmarks.evidence.device import Timings
from benchmarks.evidence.envelope import to_json
from benchmarks.evidence.profile import OpTime
from benchmarks.optional import OnDevice
from benchmarks.parity.bisect import largest_errors
from benchmarks.request import Request
from benchmarks.runtime import load_runtime, resolve_runtimes
from benchmarks.runtimes import coreml_device
from benchmarks.runtimes.coreml_device import MacRuntime, PhoneRuntime, agrees, example, planned, summary
from hydramobile.artifact import read_artifact
from hydramobile.errors import NothingJudged, StageError
from hydramobile.spec import load_spec
from support.fixtures import Artifacts, Golden


def phone(name: str, kind: str = "iPhone", state: str = "connected") -> dict[str, object]:
    return {
        "identifier": f"id-{name}",
        "deviceProperties": {"name": name, "osVersionNumber": "18.5", "osBuildUpdate": "22F76"},
        "hardwareProperties": {"deviceType": kind, "udid": f"udid-{name}"},
        "connectionProperties": {"tunnelState": state},
    }


@pytest.fixture
def attach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`attach(phone("mine"))`: a Mac whose devicectl lists these devices. coremltools' own code reads the list."""
    remote = importlib.import_module("coremltools.models.ml_program.experimental.remote_device")
    monkeypatch.setattr(remote._DeviceCtl, "_validation_done", False, raising=False)
    monkeypatch.setattr(coreml_device, "system", lambda: "Darwin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.delenv("HYDRA_IOS_DEVICE", raising=False)

    def with_devices(*devices: dict[str, object], fails: bool = False) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "list.json").write_text(json.dumps({"result": {"devices": list(devices)}}))
        for name in ("devicectl", "xcrun"):
            path = tmp_path / "bin" / name
            # xcrun devicectl list devices -j FILE
            path.write_text("#!/bin/sh\n" + ("exit 7\n" if fails else f'cat {tmp_path / "list.json"} >"$5"\n'))
            path.chmod(0o755)

    return with_devices


def test_on_linux_it_is_unavailable_and_says_why(
    artifact: Artifacts, out_with: Callable[..., Path], model_dir: Callable[[str], Path]
) -> None:
    out = out_with("classifier", artifact("classifier", "coreml", "float32"))
    request = Request(load_spec(model_dir("classifier")), out)
    for kind in ("ios", "mac"):
        with pytest.raises(NothingJudged, match="needs a Mac with Xcode: Apple's tools do not exist for Linux"):
            run_device(request, Run(kind))
    assert not {"coreml-device", "coreml-mac"} & set(resolve_runtimes([]))
    folder = artifact("classifier", "coreml", "float32")
    with pytest.raises(StageError, match="open: coreml-mac needs a Mac"):
        MacRuntime().open(folder, read_artifact(folder).entries[0])


def test_the_connected_phone_is_found(attach: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    attach(phone("Ann's iPhone"), phone("a Mac", "mac"), phone("far away", state="disconnected"))
    runtime: Any = PhoneRuntime()
    assert runtime.unavailable() is None
    device = runtime.device()
    assert (device.model, device.os, device.emulator) == ("iphone", "18.5 (22F76)", False)
    # Neither a person's name nor the device's number goes into a report.
    assert "Ann" not in to_json(device) and "udid" not in to_json(device)
    assert isinstance(runtime, OnDevice)
    assert PhoneRuntime().evidence == "measured-on-device" and MacRuntime().evidence == "host"
    monkeypatch.setenv("HYDRA_IOS_DEVICE", "Bob's iPad")
    assert PhoneRuntime().unavailable() == "no device \"Bob's iPad\" is connected (connected: Ann's iPhone)"


def test_none_several_and_a_broken_devicectl(attach: Callable[..., None]) -> None:
    attach()
    assert "no iPhone or iPad is connected" in str(PhoneRuntime().unavailable())
    attach(phone("one"), phone("two", "iPad"))
    assert PhoneRuntime().unavailable() == "several devices (one, two): choose one with --device ios:NAME"
    attach(fails=True)
    with pytest.raises(StageError, match="devicectl gave no list of devices"):
        PhoneRuntime().unavailable()


def test_without_xcode_the_phone_cannot_be_set_up(attach: Callable[..., None], artifact: Artifacts) -> None:
    attach(phone("mine"))
    folder = artifact("classifier", "coreml", "float32")
    entry = read_artifact(folder).entries[0]
    runtime = PhoneRuntime()
    for act in (
        lambda: runtime.open(folder, entry),
        lambda: runtime.measure(folder, entry, "ALL", 0.1),
        lambda: runtime.operators(folder, entry),
    ):
        with pytest.raises(StageError, match="device: setting up mine"):
            act()
    assert runtime.read_dtypes(folder, entry)["float32"] > 0


def test_a_mac_that_cannot_predict_names_the_stage(attach: Callable[..., None], artifact: Artifacts) -> None:
    attach()
    folder = artifact("classifier", "coreml", "float32")
    entry = read_artifact(folder).entries[0]
    with pytest.raises(StageError, match=r"(open|run): "):
        MacRuntime().measure(folder, entry, "CPU_ONLY", 0.1)
    with pytest.raises(StageError, match="no package"):
        MacRuntime().measure(folder.parent / "no package", entry, "CPU_ONLY", 0.1)


@pytest.mark.slow
def test_failed_runs_are_reported_as_rows(
    attach: Callable[..., None],
    artifact: Artifacts,
    out_with: Callable[..., Path],
    model_dir: Callable[[str], Path],
) -> None:
    """Worker processes see the real system: each comparison fails with its reason, and the command with code 3."""
    attach(phone("mine"))
    out = out_with("classifier", artifact("classifier", "coreml", "float32"))
    measured = run_device(Request(load_spec(model_dir("classifier")), out), Run("ios", 0.1, 0))
    assert {row.verdict for row in measured.parity if row.mode != "dtypes"} == {"failed"}
    assert measured.evidence.results[0].verdict == "failed"
    with pytest.raises(StageError, match="needs a Mac with Xcode"):
        conclude_device(measured)


def test_inputs_for_timing_fit_the_ports(artifact: Artifacts) -> None:
    """An image input gets an image, any other an array, both of the file's size."""
    (port,) = read_artifact(artifact("classifier", "coreml", "float32")).entries[0].inputs
    image = as_feature(replace(port, dtype="uint8"), np.zeros((1, 8, 6, 3), np.uint8))
    assert (image.size, image.mode) == ((6, 8), "RGB")
    for entry in read_artifact(artifact("mixed", "coreml", "float32")).entries:
        values = example(entry)
        assert set(values) == {port.file_name for port in entry.inputs}
        for port in entry.inputs:
            value = values[port.file_name]
            size = (port.shape[1], port.shape[2]) if port.dtype == "uint8" else port.shape
            assert (value.size[::-1] if port.dtype == "uint8" else value.shape) == size


def test_samples_and_compute_plans_are_summarised() -> None:
    spread = Timings(mean_ms=2.0, p50_ms=2.0, p95_ms=2.9, min_ms=1.0, max_ms=3.0, runs=3)
    assert summary(9.0, 4.0, [1.0, 2.0, 3.0]) == replace(spread, init_ms=9.0, first_ms=4.0)
    kinds = importlib.import_module("coremltools.models.compute_device")
    perf = importlib.import_module("coremltools.models.ml_program.experimental.perf_utils")
    plan = importlib.import_module("coremltools.models.compute_plan")
    proto = importlib.import_module("coremltools.proto.MIL_pb2")
    operation = proto.Operation(type="conv")
    operation.outputs.add(name="x_1")
    engine = kinds.MLNeuralEngineComputeDevice.__new__(kinds.MLNeuralEngineComputeDevice)
    usage = plan.MLComputePlanDeviceUsage(preferred_compute_device=engine, supported_compute_devices=[engine])
    bench = perf.MLModelBenchmarker
    info = bench.OperationExecutionInfo(operation, None, usage, bench.Measurement.from_samples([2.0, 4.0]))
    assert planned(info) == OpTime("conv on NeuralEngine", "x_1", 3.0, 1.0)


def test_results_of_compute_units_agree_within_the_tolerance() -> None:
    values = np.linspace(0, 10, 11)
    assert agrees(None, values, values + 0.09) and not agrees(None, values, values + 0.11)
    assert agrees(None, None, values)


def test_traces_are_compared_tensor_by_tensor(artifact: Artifacts, golden: Golden) -> None:
    """The comparison that a Mac will make, here between float16 and float32 files in our own evaluator."""
    runtime: Any = load_runtime("coreml-mil")
    traces = []
    for recipe in ("float32", "float16"):
        folder = artifact("mixed", "coreml", recipe)
        entry = read_artifact(folder).entry("paint")
        inputs = {port.name: golden("mixed")[port.name] for port in entry.inputs}
        traces.append(runtime.trace(folder, entry, inputs))
    compared, median, worst = largest_errors(traces[1], traces[0])
    assert compared > 3
    assert median is not None and 0 < median < 0.01 and worst[0].error >= median
    _, median, worst = largest_errors(traces[0], traces[0])
    assert median == 0 and worst[0].error == 0
    assert largest_errors({}, traces[0]) == (0, None, ())
