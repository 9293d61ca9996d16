"""Run Core ML on a Mac through coremltools' `predict`.

This file has not been run on a Mac yet: it is written from coremltools' documentation, and its tests cover what Linux
can reach. Its numbers are the Mac's ("host"), not a phone's.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from platform import mac_ver, system
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.adapters.coreml import as_feature, load_model
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError, unknown

# Names of coremltools.ComputeUnit. CPU_ONLY computes float16 programs in float16 or float32, as Core ML decides; ALL
# includes the Neural Engine and the GPU.
UNITS = ("CPU_ONLY", "ALL", "CPU_AND_GPU", "CPU_AND_NE")
VARIABLE = "HYDRA_COREML_UNITS"


class PredictRuntime(Runtime):
    name = "coreml-predict"
    evidence: Label = "host"
    targets = ("coreml",)
    timed = True
    about = (
        "Runs the package by Core ML on this Mac (compute units: CPU_ONLY, or those that HYDRA_COREML_UNITS names). "
        "Times include coremltools' copies in and out. A Mac's Neural Engine is not a phone's."
    )

    def unavailable(self) -> str | None:
        if system() != "Darwin":
            return "Core ML runs on macOS only; coreml-mil evaluates the same packages here"
        if find_spec("coremltools") is None:
            return "coremltools is not installed; run: make setup"
        return None

    def version(self) -> dict[str, str]:
        try:
            coremltools = version("coremltools")
        except PackageNotFoundError:
            coremltools = "not installed"
        return {"coremltools": coremltools, "macos": mac_ver()[0] or "not macOS", "compute_units": units()}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> PredictSession:
        """Load one function of a package. `threads` is not used: Core ML chooses its own."""
        reason = self.unavailable()
        if reason:
            raise StageError("open", reason)
        return PredictSession(load_model(folder, entry, units()), entry)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        """Return the bytes of the function's large constants by dtype, as coremltools' own loader reads them."""
        ct = import_module("coremltools")
        package = folder / entry.file
        spec = ct.utils.load_spec(str(package))
        load = import_module("coremltools.converters.mil.frontend.milproto.load").load
        weights = package / "Data" / "com.apple.CoreML" / "weights"
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=str(weights))
        totals: dict[str, int] = {}
        for operation in program.functions[entry.function or "main"].operations:
            value = operation.outputs[0].val if operation.op_type == "const" else None
            if isinstance(value, np.ndarray) and value.size > 16:
                totals[str(value.dtype)] = totals.get(str(value.dtype), 0) + value.nbytes
        return dict(sorted(totals.items()))


def units() -> str:
    """Return the compute units that HYDRA_COREML_UNITS names. Raises UsageError for unknown ones."""
    chosen = os.environ.get(VARIABLE, "CPU_ONLY")
    if chosen not in UNITS:
        raise unknown("Core ML compute unit", chosen, UNITS)
    return chosen


class PredictSession:
    def __init__(self, model: Any, entry: Entry) -> None:
        self.model = model
        self.entry = entry
        self.bound: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def __enter__(self) -> PredictSession:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def bind(self, inputs: Tensors) -> None:
        self.bound = {port.file_name: as_feature(port, to_file(port, inputs[port.name])) for port in self.entry.inputs}

    def invoke(self) -> float:
        start = perf_counter()
        self.outputs = self.model.predict(self.bound)
        return perf_counter() - start

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.outputs[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.bound, self.outputs, self.model = {}, {}, None
