"""Core ML on an attached iPhone or on this Mac, through coremltools' own instruments: its benchmarker, compute plan,
inspector, comparator and remote device. Nothing of theirs is written again here.

No one has run this file on a Mac or an iPhone yet: its tests reach what a stand-in for Apple's `devicectl` can show on
Linux (finding devices, refusals, errors); every line that predicts is written from coremltools' code and untested.
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

from benchmarks.coroutines import wait
from benchmarks.profile import OpTime
from benchmarks.runtime import Array, Tensors, from_file, load_runtime, to_file
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes

EXPERIMENTAL = "coremltools.models.ml_program.experimental"
VARIABLE = "HYDRA_IOS_DEVICE"
UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
# What an app gets that asks for nothing.
DEFAULT = "ALL"
WEIGHTS = "Data/com.apple.CoreML/weights"
MOST_RUNS = 1000
# A float16 value of one place of arithmetic against another's, as a share of the tensor's range.
DISAGREES = 0.01


class AppleRuntime:
    """What an iPhone and a Mac have in common. `reach` gives coremltools' Device, or None for this Mac."""

    name = ""
    evidence = ""
    targets = ("coreml",)
    timed = False
    configurations = UNITS
    about = ""

    def unavailable(self) -> str | None:
        if system() != "Darwin":
            return f"{self.name} needs a Mac with Xcode: Apple's tools do not exist for {system()}"
        if find_spec("coremltools") is None:
            return "coremltools is not installed; run: make setup"
        return self.missing()

    def missing(self) -> str | None:
        return None

    @cached_property
    def reach(self) -> Any:
        return None

    def version(self) -> dict[str, str]:
        return {"coremltools": version("coremltools"), "macos": mac_ver()[0] or "not macOS"}

    def model(self, folder: Path, entry: Entry, units: str) -> Any:
        ct = import_module("coremltools")
        try:
            return ct.models.MLModel(
                str(folder / entry.file), compute_units=ct.ComputeUnit[units], function_name=entry.function
            )
        except Exception as error:  # coremltools raises RuntimeError and worse for a package Core ML refuses
            raise StageError("open", f"{folder / entry.file}: {error}") from error

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> AppleSession:
        """`threads` is not used: Core ML chooses its own."""
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        wrapper = import_module(f"{EXPERIMENTAL}.async_wrapper").MLModelAsyncWrapper
        ct = import_module("coremltools")
        model = wrapper.from_spec_or_path(
            spec_or_path=str(folder / entry.file),
            weights_dir=str(folder / entry.file / WEIGHTS),
            compute_units=ct.ComputeUnit[DEFAULT],
            function_name=entry.function,
            device=self.reach,
        )
        wait(model.load(), "open", f"{folder / entry.file} on {self.name}")
        return AppleSession(model, entry)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return load_runtime("coreml-mil").read_dtypes(folder, entry)

    def condition(self) -> dict[str, Any]:
        """coremltools reports no temperature."""
        return {"thermal_status": None}

    def device(self) -> dict[str, Any]:
        return {"emulator": False, "model": machine(), "os": f"macOS {mac_ver()[0]}"}

    def clean(self) -> list[str]:
        return []

    def benchmarker(self, folder: Path, entry: Entry, units: str) -> Any:
        kind = import_module(f"{EXPERIMENTAL}.perf_utils").MLModelBenchmarker
        return kind(self.model(folder, entry, units), device=self.reach)

    def measure(self, folder: Path, entry: Entry, configuration: str, seconds: float) -> dict[str, Any]:
        """Predict's own durations, without coremltools' copies; about `seconds` of them after a first."""
        bench, inputs = self.benchmarker(folder, entry, configuration), example(entry)
        what = f"{entry.id} with {configuration}"
        load = wait(bench.benchmark_load(iterations=1), "run", what)
        first = wait(bench.benchmark_predict(inputs=inputs, iterations=1), "run", what)
        runs = int(min(MOST_RUNS, max(5, seconds * 1e3 / max(first.samples[0], 1e-3))))
        found = wait(bench.benchmark_predict(inputs=inputs, iterations=runs, warmup=True), "run", what)
        return {"init_ms": load.samples[0], "first_ms": first.samples[0], **summary(found.samples)}

    def operators(self, folder: Path, entry: Entry) -> list[OpTime]:
        """The device each operator is planned on. Its time is predict's time by the plan's weights, not measured."""
        bench = self.benchmarker(folder, entry, DEFAULT)
        rows = wait(
            bench.benchmark_operation_execution(inputs=example(entry), iterations=20, warmup=True), "profile", entry.id
        )
        return [planned(row) for row in rows if row.measurement.statistics is not None]

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Every tensor, by models cut after each: what our evaluator is compared with, operator by operator."""
        inspector = import_module(f"{EXPERIMENTAL}.debugging_utils").MLModelInspector(
            self.model(folder, entry, DEFAULT), device=self.reach
        )
        values = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in entry.inputs}
        work = inspector.retrieve_outputs(inputs=values, output_names=inspector.output_names)
        found = wait(work, "run", entry.id)
        return {name: np.array(value, np.float32) for name, value in found.items() if value is not None}

    def disagreements(self, folder: Path, entry: Entry, inputs: Tensors) -> list[str]:
        """Operators whose result first leaves the CPU's when Core ML may choose any unit: coremltools' comparator."""
        kind = import_module(f"{EXPERIMENTAL}.debugging_utils").MLModelComparator
        sides = [self.model(folder, entry, units) for units in ("CPU_ONLY", DEFAULT)]
        comparator = kind(*sides, reference_device=self.reach, target_device=self.reach)
        values = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in entry.inputs}
        rows = wait(comparator.find_failing_ops(inputs=values, compare_outputs=agrees), "run", entry.id)
        return [str(row.outputs[0].name) for row in rows]


class MacRuntime(AppleRuntime):
    name = "coreml-mac"
    evidence = "host"
    about = "Core ML on this Mac, all compute units, timed by coremltools' benchmarker; a Mac is not a phone"


class PhoneRuntime(AppleRuntime):
    name = "coreml-device"
    evidence = "measured-on-device"
    about = "Core ML on an attached iPhone or iPad, through coremltools' model runner app, built and signed by Xcode"

    def missing(self) -> str | None:
        if which("devicectl") is None or which("xcrun") is None:
            return "Apple's devicectl is missing; install Xcode and its command line tools"
        asked, found = os.environ.get(VARIABLE, ""), self.attached
        names = ", ".join(found) or "none"
        if asked and asked not in found:
            return f"no device {asked!r} is connected (connected: {names})"
        if not found:
            return "no iPhone or iPad is connected; connect one with developer mode on"
        return None if asked or len(found) == 1 else f"several devices ({names}): choose one with --device ios:NAME"

    @cached_property
    def attached(self) -> dict[str, Any]:
        """Connected iPhones and iPads by name, from coremltools' own list."""
        remote = import_module(f"{EXPERIMENTAL}.remote_device")
        kinds = (remote.DeviceType.IPHONE, remote.DeviceType.IPAD)
        try:
            return {row.name: row for kind in kinds for row in remote.Device.get_connected_devices(kind)}
        except Exception as error:  # devicectl's failures come as types of coremltools' own and of json
            raise StageError("device", f"devicectl gave no list of devices: {type(error).__name__}: {error}") from error

    @property
    def chosen(self) -> Any:
        return self.attached[os.environ.get(VARIABLE, "") or next(iter(self.attached))]

    @cached_property
    def reach(self) -> Any:
        return wait(self.chosen.prepare_for_model_debugging(), "device", f"setting up {self.chosen.name}")

    def device(self) -> dict[str, Any]:
        row = self.chosen
        named = {"model": str(row.type.value), "os": f"{row.os_version} ({row.os_build_number})"}
        return {"emulator": False, **named, "serial": sha256_bytes(str(row.udid).encode())[:12]}


class AppleSession:
    def __init__(self, model: Any, entry: Entry) -> None:
        self.model, self.entry = model, entry
        self.bound: dict[str, Any] = {}
        self.made: Mapping[str, Any] = {}

    def bind(self, inputs: Tensors) -> None:
        self.bound = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in self.entry.inputs}

    def invoke(self) -> float:
        started = perf_counter()
        self.made = wait(self.model.predict(self.bound), "run", self.entry.id)
        return perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.made[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        if self.model is not None:
            wait(self.model.unload(), "run", self.entry.id)
        self.bound, self.made, self.model = {}, {}, None


def example(entry: Entry) -> dict[str, Any]:
    """Inputs for timing: noise of each port's range. Always given: without, coremltools 9.0 fails on images (#2678)."""
    random = np.random.default_rng(0)
    values = {}
    for port in entry.inputs:
        low, high = (0, 255) if port.dtype == "uint8" else port.range or (0.0, 1.0)
        values[port.file_name] = as_feature(port, random.uniform(low, high, port.shape).astype(port.dtype))
    return values


def as_feature(port: Port, value: Array) -> Any:
    """What predict takes: a PIL image for the bytes of an image input, an array for a MultiArray."""
    if port.dtype != "uint8":
        return value
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(value[0], np.uint8))


def summary(samples: list[float]) -> dict[str, Any]:
    """Milliseconds of several runs."""
    values = np.array(samples)
    spread = dict(zip(("p50_ms", "p95_ms"), (float(v) for v in np.quantile(values, (0.5, 0.95))), strict=True))
    found = {"mean_ms": float(values.mean()), **spread, "min_ms": float(values.min()), "max_ms": float(values.max())}
    return {**{key: round(value, 4) for key, value in found.items()}, "runs": len(samples)}


def planned(row: Any) -> OpTime:
    """An operator of coremltools' plan: its type and the compute device it is planned on."""
    usage = row.compute_device_usage
    where = type(usage.preferred_compute_device).__name__ if usage is not None else "unplanned"
    where = where.removeprefix("ML").removesuffix("ComputeDevice").removesuffix("Device")
    name = str(row.spec.outputs[0].name) if row.spec.outputs else str(row.spec.type)
    return OpTime(f"{row.spec.type} on {where}", name, float(row.measurement.statistics.median), 1.0)


def agrees(operation: Any, reference: Any, target: Any) -> bool:
    if reference is None or target is None:
        return True
    a, b = np.asarray(reference, np.float64), np.asarray(target, np.float64)
    spread = float(a.max() - a.min()) if a.size else 0.0
    return bool(a.size == 0 or float(np.abs(a - b).max()) <= DISAGREES * (spread or 1.0))
