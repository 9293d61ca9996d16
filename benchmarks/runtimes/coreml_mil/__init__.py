"""Core ML on any system: the saved ML program read back and evaluated op by op in numpy.

It proves the file: weights (decoded from their compressed form), layout, op parameters, names, the image's /255.
It does not prove Apple's kernels: neither the Neural Engine's arithmetic nor its scheduling.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.graph import Graph
from benchmarks.runtime import Array, Tensors, from_file, to_file
from benchmarks.runtimes.coreml_mil.evaluate import Observer, Plan, evaluate, prepare
from benchmarks.runtimes.coreml_mil.graph import graph_of
from benchmarks.runtimes.coreml_mil.program import Function, Image, load_function, weight_bytes
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError

__all__ = ["MILRuntime", "MILSession"]

# What Core ML hands the program for the colours an image input names; bytes come as RGB.
CHANNELS = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}


class MILRuntime:
    name = "coreml-mil"
    evidence = "interpreted"
    targets = ("coreml",)
    timed = False
    about = (
        "Evaluates the saved ML program in numpy, float16 results rounded after every op. Shows that the file holds "
        "the right weights and graph; shows nothing of the Neural Engine's arithmetic, scheduling or speed."
    )

    def unavailable(self) -> str | None:
        if find_spec("coremltools") is None:
            return "coremltools (its file schema) is not installed; run: make setup"
        return None

    def version(self) -> dict[str, str]:
        found = {"numpy": np.__version__}
        try:
            found["coremltools"] = version("coremltools")
        except PackageNotFoundError:
            found["coremltools"] = "not installed"
        return found

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> MILSession:
        """`threads` is not used: numpy's BLAS takes its number from the environment."""
        function = load_function(folder / entry.file, entry.function)
        return MILSession(prepare(function), entry)

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """Every value of the program, rounded as its type in the file says."""
        session, seen = self.open(folder, entry), dict[str, Array]()
        session.observe = lambda name, value: seen.__setitem__(name, np.asarray(value))
        session.bind(inputs)
        session.invoke()
        return seen

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return weight_bytes(load_function(folder / entry.file, entry.function))

    def graph(self, folder: Path, entry: Entry) -> Graph:
        return graph_of(load_function(folder / entry.file, entry.function), entry.file)


class MILSession:
    """One function of a package. `observe`, when set, sees every intermediate value by its name in the file."""

    def __init__(self, plan: Plan, entry: Entry) -> None:
        self.plan = plan
        self.entry = entry
        self.observe: Observer | None = None
        self.bound: dict[str, Array] = {}
        self.made: dict[str, Array] = {}
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
                    "run", f"{port.file_name!r} has shape {list(value.shape)}, the file wants {list(expected)}"
                )
            self.bound[port.file_name] = value.astype(np.float32) if value.dtype.kind == "f" else value

    def invoke(self) -> float:
        if not self.bound:
            raise StageError("run", "no inputs are bound")
        start = perf_counter()
        self.made = evaluate(self.plan, self.bound, self.observe)
        return perf_counter() - start

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.made[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.bound, self.made = {}, {}


def from_pixels(value: Array, image: Image, port: Port) -> Array:
    """The bytes of a pixel buffer [1, H, W, 3] as the program's float tensor [1, 3, H, W] of 0..255."""
    if image.order not in CHANNELS:
        raise StageError("run", f"image colour space {image.order} is not supported (supported: {', '.join(CHANNELS)})")
    if tuple(value.shape) != (1, image.height, image.width, 3):
        raise StageError(
            "run",
            f"image {port.file_name!r} has shape {list(value.shape)}, "
            f"the file wants [1, {image.height}, {image.width}, 3]",
        )
    planes = np.moveaxis(value, -1, 1)[:, CHANNELS[image.order]]
    return np.ascontiguousarray(planes, np.float32)


def check_names(function: Function, entry: Entry) -> None:
    """The artifact's tensors are the file's. Raises StageError("open") for one that the file does not have."""
    for side, ports, names in (("input", entry.inputs, function.inputs), ("output", entry.outputs, function.outputs)):
        asked = {port.file_name for port in ports}
        if asked - set(names) or (side == "input" and asked != set(names)):
            raise StageError(
                "open", f"{entry.file}: {side}s {sorted(asked)} do not match the file's (available: {', '.join(names)})"
            )
