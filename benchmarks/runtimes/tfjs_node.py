"""Run TF.js graph models in Node with the wasm backend, on the files as they ship, one child process per session."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adapters.child import Child
from benchmarks.adapters.tfjs_files import GraphModel, read_graph_model, weight_dtypes
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors, from_file, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError

HARNESS = Path(__file__).with_name("tfjs_node.mjs")
MODULES = HARNESS.parents[2] / "node_modules"
PACKAGES = ("tfjs-core", "tfjs-converter", "tfjs-backend-wasm", "tfjs-backend-cpu")
# Seconds. Far above any run seen: a child process that is silent for longer hangs.
OPEN_LIMIT = 120.0
RUN_LIMIT = 300.0
NUMPY = {"float32": "<f4", "int32": "<i4", "bool": "?"}


class NodeSession:
    """One entry of an artifact in a child process.

    `facts` are what really runs: backend, SIMD, threads, and the reason where the wasm backend lacks a kernel.
    """

    def __init__(self, model: GraphModel, entry: Entry, threads: int) -> None:
        node = shutil.which("node")
        if node is None:
            raise StageError("open", "node is not on the PATH; run: make setup")
        self.entry = entry
        self.file = model.file
        self.facts: dict[str, Any] = {}
        self.child = Child("node", [node, str(HARNESS)])
        outputs = [port.file_name for port in entry.outputs]
        request = {"do": "open", "file": str(model.file.resolve()), "threads": threads, "outputs": outputs}
        try:
            self.facts = self.ask(request, b"", OPEN_LIMIT)[0]
        except StageError as error:
            self.close()
            raise StageError("open", error.message) from error

    def ask(
        self, request: dict[str, Any], payload: bytes = b"", limit: float = RUN_LIMIT
    ) -> tuple[dict[str, Any], bytes]:
        answer, data = self.child.ask(request, payload, limit)
        if not answer.pop("ok"):
            raise StageError("run", f"TF.js failed to {request['do']} {self.file}: {answer['error']}")
        return answer, data

    def bind(self, inputs: Tensors) -> None:
        values = [(port, to_file(port, inputs[port.name])) for port in self.entry.inputs]
        tensors = [{"name": p.file_name, "shape": list(p.shape), "dtype": p.dtype} for p, _ in values]
        payload = b"".join(value.astype(NUMPY[port.dtype]).tobytes() for port, value in values)
        self.ask({"do": "bind", "tensors": tensors}, payload)

    def invoke(self) -> float:
        """Return the seconds inside Node, from the call until all outputs are computed."""
        self.facts, _ = self.ask({"do": "invoke"})
        return float(self.facts.pop("seconds"))

    def fetch(self) -> dict[str, Array]:
        answer, data = self.ask({"do": "fetch"})
        outputs = unpack(answer["tensors"], data)
        return {port.name: from_file(port, outputs[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.child.close()


def unpack(tensors: Sequence[dict[str, Any]], data: bytes) -> dict[str, Array]:
    """Split `data`, the concatenated bytes of `tensors`, into arrays by name."""
    arrays: dict[str, Array] = {}
    start = 0
    for tensor in tensors:
        count = int(np.prod(tensor["shape"], dtype=np.int64))
        array = np.frombuffer(data, NUMPY[tensor["dtype"]], count, start).reshape(tensor["shape"])
        arrays[tensor["name"]] = array
        start += array.nbytes
    return arrays


class NodeRuntime(Runtime):
    name = "tfjs-node"
    evidence: Label = "host"
    targets = ("tfjs",)
    timed = True
    about = (
        "TF.js's wasm backend (SIMD) in Node on this computer, on the files as they ship; "
        "a browser adds its own overhead, and its WebGL and WebGPU backends are not tried"
    )

    def unavailable(self) -> str | None:
        if shutil.which("node") is None:
            return "node is not on the PATH; run: make setup"
        missing = [name for name in PACKAGES if not (MODULES / "@tensorflow" / name / "package.json").is_file()]
        return f"{', '.join(missing)} not in node_modules; run: make setup" if missing else None

    def version(self) -> dict[str, str]:
        versions = {name: package_version(name) for name in PACKAGES}
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=30)
        return {"tfjs": versions["tfjs-core"], "backend": "wasm", "node": node.stdout.strip()}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> NodeSession:
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        return NodeSession(read_graph_model(folder, entry), entry, threads)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return weight_dtypes(read_graph_model(folder, entry))


def package_version(name: str) -> str:
    path = MODULES / "@tensorflow" / name / "package.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["version"])
