"""Run Core ML on an attached iPhone or on this Mac, through coremltools' own benchmarker, compute plan, inspector,
comparator and remote device.

This file has not been run on a Mac or an iPhone yet. Its tests cover what a stand-in for Apple's `devicectl` can show
on Linux: finding devices, refusals, errors. Every line that predicts is written from coremltools' code and untested.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from platform import mac_ver, machine, system
from shutil import which
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.adapters.coreml import as_feature, load_model
from benchmarks.adapters.coroutines import wait
from benchmarks.evidence.device import Condition, DeviceInfo, Timings
from benchmarks.evidence.profile import OpTime
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors, from_file, load_runtime, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes

EXPERIMENTAL = "coremltools.models.ml_program.experimental"
VARIABLE = "HYDRA_IOS_DEVICE"
UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
# The compute units of an app that sets none.
DEFAULT = "ALL"
WEIGHTS = "Data/com.apple.CoreML/weights"
MAX_RUNS = 1000
# The largest difference between two compute units that counts as float16 rounding, as a share of the tensor's range.
TOLERANCE = 0.01


class AppleRuntime(Runtime):
    """Implement the runtime for iPhone and Mac. `remote` is coremltools' Device, or None for this Mac."""

    name = ""
    evidence: Label = "host"
    targets = ("coreml",)
    timed = False
    configurations = UNITS
    trace_kernels = "models cut after each operator"
    about = ""

    def unavailable(self) -> str | None:
        if system() != "Darwin":
            return f"{self.name} needs a Mac with Xcode: Apple's tools do not exist for {system()}"
        if find_spec("coremltools") is None:
            return "coremltools is not installed; run: make setup"
        return self.missing()

    def missing(self) -> str | None:
        """Return what this runtime lacks besides a Mac and coremltools, or None."""
        return None

    @cached_property
    def remote(self) -> Any:
        return None

    def version(self) -> dict[str, str]:
        return {"coremltools": version("coremltools"), "macos": mac_ver()[0] or "not macOS"}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> AppleSession:
        """Load one function of a package. `threads` is not used: Core ML chooses its own."""
        reason = self.unavailable()
        if reason:
            raise StageError("open", reason)
        wrapper = import_module(f"{EXPERIMENTAL}.async_wrapper").MLModelAsyncWrapper
        ct = import_module("coremltools")
        model = wrapper.from_spec_or_path(
            spec_or_path=str(folder / entry.file),
            weights_dir=str(folder / entry.file / WEIGHTS),
            compute_units=ct.ComputeUnit[DEFAULT],
            function_name=entry.function,
            device=self.remote,
        )
        wait(model.load(), "open", f"{folder / entry.file} on {self.name}")
        return AppleSession(model, entry)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return load_runtime("coreml-mil").read_dtypes(folder, entry)

    def condition(self) -> Condition:
        """Return an empty condition: coremltools reports no thermal status."""
        return Condition()

    def device(self) -> DeviceInfo:
        return DeviceInfo(model=machine(), os=f"macOS {mac_ver()[0]}")

    def clean(self) -> list[str]:
        return []

    def benchmarker(self, folder: Path, entry: Entry, units: str) -> Any:
        benchmarker = import_module(f"{EXPERIMENTAL}.perf_utils").MLModelBenchmarker
        return benchmarker(load_model(folder, entry, units), device=self.remote)

    def measure(self, folder: Path, entry: Entry, configuration: str, seconds: float) -> Timings:
        """Time loading, the first run, and `seconds` of further runs, in ms, without coremltools' copies."""
        benchmarker, inputs = self.benchmarker(folder, entry, configuration), example(entry)
        label = f"{entry.id} with {configuration}"
        load = wait(benchmarker.benchmark_load(iterations=1), "run", label)
        first = wait(benchmarker.benchmark_predict(inputs=inputs, iterations=1), "run", label)
        runs = int(min(MAX_RUNS, max(5, seconds * 1e3 / max(first.samples[0], 1e-3))))
        warm = wait(benchmarker.benchmark_predict(inputs=inputs, iterations=runs, warmup=True), "run", label)
        return summary(load.samples[0], first.samples[0], warm.samples)

    def operators(self, folder: Path, entry: Entry) -> list[OpTime]:
        """Return the compute device that each op is planned on. Its time is its share of `predict` by the plan."""
        benchmarker = self.benchmarker(folder, entry, DEFAULT)
        rows = wait(
            benchmarker.benchmark_operation_execution(inputs=example(entry), iterations=20, warmup=True),
            "profile",
            entry.id,
        )
        return [planned(row) for row in rows if row.measurement.statistics is not None]

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Return every tensor by name, from models that are cut after each op: the reference for our evaluator."""
        inspector = import_module(f"{EXPERIMENTAL}.debugging_utils").MLModelInspector(
            load_model(folder, entry, DEFAULT), device=self.remote
        )
        values = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in entry.inputs}
        coroutine = inspector.retrieve_outputs(inputs=values, output_names=inspector.output_names)
        tensors = wait(coroutine, "run", entry.id)
        return {name: np.array(value, np.float32) for name, value in tensors.items() if value is not None}

    def disagreements(self, folder: Path, entry: Entry, inputs: Tensors) -> list[str]:
        """Return the first ops whose results differ between CPU_ONLY and all units, by coremltools' comparator."""
        models = [load_model(folder, entry, units) for units in ("CPU_ONLY", DEFAULT)]
        comparator = import_module(f"{EXPERIMENTAL}.debugging_utils").MLModelComparator(
            *models, reference_device=self.remote, target_device=self.remote
        )
        values = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in entry.inputs}
        rows = wait(comparator.find_failing_ops(inputs=values, compare_outputs=agrees), "run", entry.id)
        return [str(row.outputs[0].name) for row in rows]


class MacRuntime(AppleRuntime):
    name = "coreml-mac"
    about = "Core ML on this Mac, all compute units, timed by coremltools' benchmarker; a Mac is not a phone"


class PhoneRuntime(AppleRuntime):
    name = "coreml-device"
    evidence: Label = "measured-on-device"
    about = "Core ML on an attached iPhone or iPad, through coremltools' model runner app, built and signed by Xcode"

    def missing(self) -> str | None:
        if which("devicectl") is None or which("xcrun") is None:
            return "Apple's devicectl is missing; install Xcode and its command line tools"
        chosen, attached = os.environ.get(VARIABLE, ""), self.attached
        names = ", ".join(attached) or "none"
        if chosen and chosen not in attached:
            return f"no device {chosen!r} is connected (connected: {names})"
        if not attached:
            return "no iPhone or iPad is connected; connect one with developer mode on"
        return None if chosen or len(attached) == 1 else f"several devices ({names}): choose one with --device ios:NAME"

    @cached_property
    def attached(self) -> dict[str, Any]:
        """The connected iPhones and iPads by name, as coremltools lists them."""
        remote_device = import_module(f"{EXPERIMENTAL}.remote_device")
        types = (remote_device.DeviceType.IPHONE, remote_device.DeviceType.IPAD)
        try:
            return {row.name: row for type_ in types for row in remote_device.Device.get_connected_devices(type_)}
        except Exception as error:  # coremltools raises types of its own and of json where devicectl fails
            raise StageError("device", f"devicectl gave no list of devices: {type(error).__name__}: {error}") from error

    @property
    def chosen(self) -> Any:
        return self.attached[os.environ.get(VARIABLE, "") or next(iter(self.attached))]

    @cached_property
    def remote(self) -> Any:
        return wait(self.chosen.prepare_for_model_debugging(), "device", f"setting up {self.chosen.name}")

    def device(self) -> DeviceInfo:
        chosen = self.chosen
        return DeviceInfo(
            model=str(chosen.type.value),
            os=f"{chosen.os_version} ({chosen.os_build_number})",
            serial=sha256_bytes(str(chosen.udid).encode())[:12],
        )


class AppleSession:
    def __init__(self, model: Any, entry: Entry) -> None:
        self.model, self.entry = model, entry
        self.bound: dict[str, Any] = {}
        self.outputs: Mapping[str, Any] = {}

    def bind(self, inputs: Tensors) -> None:
        self.bound = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in self.entry.inputs}

    def invoke(self) -> float:
        start = perf_counter()
        self.outputs = wait(self.model.predict(self.bound), "run", self.entry.id)
        return perf_counter() - start

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.outputs[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        if self.model is not None:
            wait(self.model.unload(), "run", self.entry.id)
        self.bound, self.outputs, self.model = {}, {}, None


def example(entry: Entry) -> dict[str, Any]:
    """Return inputs for timing: noise in each port's range.

    coremltools 9.0 makes inputs of its own where none are given, and fails on images (apple/coremltools#2678).
    """
    random = np.random.default_rng(0)
    values = {}
    for port in entry.inputs:
        low, high = (0, 255) if port.dtype == "uint8" else port.range or (0.0, 1.0)
        values[port.file_name] = as_feature(port, random.uniform(low, high, port.shape).astype(port.dtype))
    return values


def summary(init_ms: float, first_ms: float, samples: list[float]) -> Timings:
    """Return the mean, quantiles and extremes of samples in milliseconds."""
    values = np.array(samples)
    p50, p95 = (round(float(value), 4) for value in np.quantile(values, (0.5, 0.95)))
    return Timings(
        init_ms=init_ms,
        first_ms=first_ms,
        mean_ms=round(float(values.mean()), 4),
        p50_ms=p50,
        p95_ms=p95,
        min_ms=round(float(values.min()), 4),
        max_ms=round(float(values.max()), 4),
        runs=len(samples),
    )


def planned(row: Any) -> OpTime:
    """Return an op of coremltools' plan, with the compute device that it is planned on."""
    usage = row.compute_device_usage
    device = type(usage.preferred_compute_device).__name__ if usage is not None else "unplanned"
    device = device.removeprefix("ML").removesuffix("ComputeDevice").removesuffix("Device")
    name = str(row.spec.outputs[0].name) if row.spec.outputs else str(row.spec.type)
    return OpTime(f"{row.spec.type} on {device}", name, float(row.measurement.statistics.median), 1.0)


def agrees(operation: Any, reference: Any, target: Any) -> bool:
    """Return whether two results of an op differ by no more than TOLERANCE of the reference's range."""
    if reference is None or target is None:
        return True
    a, b = np.asarray(reference, np.float64), np.asarray(target, np.float64)
    spread = float(a.max() - a.min()) if a.size else 0.0
    return bool(a.size == 0 or float(np.abs(a - b).max()) <= TOLERANCE * (spread or 1.0))
