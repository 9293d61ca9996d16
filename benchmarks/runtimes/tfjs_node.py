"""TF.js in Node: the wasm backend on the files as they ship, in one child process a session."""

from __future__ import annotations

import json
import os
import select
import shutil
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.graph_model import GraphModel, read_graph_model, weight_dtypes
from benchmarks.runtime import Array, Tensors, from_file, to_file
from models.artifact import Entry
from models.errors import StageError

HARNESS = Path(__file__).with_name("tfjs_node.mjs")
MODULES = HARNESS.parents[2] / "node_modules"
PACKAGES = ("tfjs-core", "tfjs-converter", "tfjs-backend-wasm", "tfjs-backend-cpu")
# Far above any run seen; a child that is silent for longer hangs.
OPEN_LIMIT = 120.0
RUN_LIMIT = 300.0
NUMPY = {"float32": "<f4", "int32": "<i4", "bool": "?"}
# How much of the child's stderr an error quotes.
TAIL = 2000


class Child:
    """The Node process and its message framing (see the harness). Killed by `close`, at the latest when collected."""

    def __init__(self, node: str) -> None:
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        self.process = subprocess.Popen(
            [node, str(HARNESS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0
        )
        self.end = weakref.finalize(self, stop, self.process, self.log)

    def ask(self, request: dict[str, Any], payload: bytes, limit: float) -> tuple[dict[str, Any], bytes]:
        """Send one request and wait for its answer. Raises StageError("run") when the child dies or hangs."""
        text = json.dumps(request).encode()
        assert self.process.stdin is not None
        try:
            for part in (struct.pack("<II", len(text), len(payload)), text, payload):
                view = memoryview(part)
                while view:
                    view = view[self.process.stdin.write(view) or 0 :]
        except OSError as error:
            raise self.failure(f"node died before {request['do']!r}") from error
        deadline = time.monotonic() + limit
        sizes = struct.unpack("<II", self.read(8, deadline, request["do"]))
        answer = json.loads(self.read(sizes[0], deadline, request["do"]))
        return answer, self.read(sizes[1], deadline, request["do"])

    def read(self, count: int, deadline: float, what: str) -> bytes:
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        parts: list[bytes] = []
        while count:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise self.failure(f"node did not answer {what!r} in time")
            part = os.read(handle, min(count, 1 << 20))
            if not part:
                raise self.failure(f"node died in {what!r}")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def failure(self, reason: str) -> StageError:
        """The error for a child that is of no more use; it is killed, and its stderr quoted."""
        self.process.kill()
        code = self.process.wait()
        self.log.seek(0)
        said = self.log.read()[-TAIL:].decode(errors="replace").strip()
        self.close()
        return StageError("run", f"{reason} (exit status {code}){': ' + said if said else ''}")

    def close(self) -> None:
        self.end()


def stop(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        if stream is not None and not stream.closed:
            stream.close()


class NodeSession:
    """`facts` says what really runs: backend, SIMD, threads, and why where the wasm backend was not enough."""

    def __init__(self, model: GraphModel, entry: Entry, threads: int) -> None:
        node = shutil.which("node")
        if node is None:
            raise StageError("open", "node is not on the PATH; run: make setup")
        self.entry = entry
        self.file = model.file
        self.facts: dict[str, Any] = {}
        self.child = Child(node)
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
        """Seconds inside Node, from the call until the values of all outputs are there."""
        self.facts, _ = self.ask({"do": "invoke"})
        return float(self.facts.pop("seconds"))

    def fetch(self) -> dict[str, Array]:
        answer, data = self.ask({"do": "fetch"})
        made = unpack(answer["tensors"], data)
        return {port.name: from_file(port, made[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.child.close()


def unpack(tensors: Sequence[dict[str, Any]], data: bytes) -> dict[str, Array]:
    made: dict[str, Array] = {}
    start = 0
    for tensor in tensors:
        count = int(np.prod(tensor["shape"], dtype=np.int64))
        made[tensor["name"]] = np.frombuffer(data, NUMPY[tensor["dtype"]], count, start).reshape(tensor["shape"])
        start += made[tensor["name"]].nbytes
    return made


class NodeRuntime:
    name = "tfjs-node"
    evidence = "host"
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
        found = {name: package_version(name) for name in PACKAGES}
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=30)
        return {"tfjs": found["tfjs-core"], "backend": "wasm", "node": node.stdout.strip()}

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
