"""Core ML on any system: read the saved ML program back and evaluate it op by op in numpy.

It proves the file: weights (decoded from their compressed form), layout, op parameters, names, the division of an image
by 255. It does not prove Apple's kernels: neither the Neural Engine's arithmetic nor its scheduling.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.evidence.row import Label
from benchmarks.graph import Graph
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from benchmarks.runtimes.coreml_mil.evaluate import Observer, Plan, evaluate, prepare
from benchmarks.runtimes.coreml_mil.graph import graph_of
from benchmarks.runtimes.coreml_mil.program import Function, Image, load_function, weight_bytes
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError

__all__ = ["MILRuntime", "MILSession"]

# Colour space of an image input to the order in which Core ML passes the channels. The bytes of a pixel buffer are RGB.
CHANNELS = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}


class MILRuntime(Runtime):
    name = "coreml-mil"
    evidence: Label = "interpreted"
    targets = ("coreml",)
    timed = False
    trace_kernels = "numpy, operator by operator"
    about = (
        "Evaluates the saved ML program in numpy, float16 results rounded after every op. Shows that the file holds "
        "the right weights and graph; shows nothing of the Neural Engine's arithmetic, scheduling or speed."
    )

    def unavailable(self) -> str | None:
        if find_spec("coremltools") is None:
            return "coremltools (its file schema) is not installed; run: make setup"
        return None

    def version(self) -> dict[str, str]:
        versions = {"numpy": np.__version__}
        try:
            versions["coremltools"] = version("coremltools")
        except PackageNotFoundError:
            versions["coremltools"] = "not installed"
        return versions

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> MILSession:
        """Read one function of a package. `threads` is not used: the environment sets those of numpy's BLAS."""
        function = load_function(folder / entry.file, entry.function)
        return MILSession(prepare(function), entry)

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Return every tensor of the program by name, rounded to its dtype in the file."""
        session, tensors = self.open(folder, entry), dict[str, Array]()
        session.observe = lambda name, value: tensors.__setitem__(name, np.asarray(value))
        session.bind(inputs)
        session.invoke()
        return tensors

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return weight_bytes(load_function(folder / entry.file, entry.function))

    def graph(self, folder: Path, entry: Entry) -> Graph:
        return graph_of(load_function(folder / entry.file, entry.function), entry.file)


class MILSession:
    """Run one function of a package. `observe`, if set, is called with each intermediate tensor and its name."""

    def __init__(self, plan: Plan, entry: Entry) -> None:
        self.plan = plan
        self.entry = entry
        self.observe: Observer | None = None
        self.bound: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}
        check_names(plan.function, entry)

    def __enter__(self) -> MILSession:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def bind(self, inputs: Tensors) -> None:
        function = self.plan.function
        for port in self.entry.inputs:
            value = to_file(port, inputs[port.name])
            if port.file_name in function.images:
                value = from_pixels(value, function.images[port.file_name], port)
            expected = function.inputs[port.file_name].shape
            if tuple(value.shape) != expected:
                raise StageError(
                    "run", f"{port.file_name!r} has shape {list(value.shape)}, the file expects {list(expected)}"
                )
            self.bound[port.file_name] = value.astype(np.float32) if value.dtype.kind == "f" else value

    def invoke(self) -> float:
        if not self.bound:
            raise StageError("run", "no inputs are bound")
        start = perf_counter()
        self.outputs = evaluate(self.plan, self.bound, self.observe)
        return perf_counter() - start

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.outputs[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.bound, self.outputs = {}, {}


def from_pixels(value: Array, image: Image, port: Port) -> Array:
    """Return the bytes of a pixel buffer [1, H, W, 3] as float32 [1, 3, H, W] of 0..255, as Core ML passes it."""
    if image.order not in CHANNELS:
        raise StageError("run", f"image colour space {image.order} is not supported (supported: {', '.join(CHANNELS)})")
    if tuple(value.shape) != (1, image.height, image.width, 3):
        raise StageError(
            "run",
            f"image {port.file_name!r} has shape {list(value.shape)}, "
            f"the file expects [1, {image.height}, {image.width}, 3]",
        )
    planes = np.moveaxis(value, -1, 1)[:, CHANNELS[image.order]]
    return np.ascontiguousarray(planes, np.float32)


def check_names(function: Function, entry: Entry) -> None:
    """Raise StageError("open") where the artifact's tensors are not those of the file.

    The inputs must be all inputs of the function; some of its outputs may be missing.
    """
    for side, ports, names in (("input", entry.inputs, function.inputs), ("output", entry.outputs, function.outputs)):
        expected = {port.file_name for port in ports}
        if expected - set(names) or (side == "input" and expected != set(names)):
            raise StageError(
                "open",
                f"{entry.file}: {side}s {sorted(expected)} do not match the file's (available: {', '.join(names)})",
            )
