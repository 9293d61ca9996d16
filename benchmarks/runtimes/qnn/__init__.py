"""Run ONNX files in Qualcomm's simulator of its NPU (HTP), through ONNX Runtime's QNN provider. An optional extra.

The simulator computes what an NPU of the given architecture computes. It counts cycles too, which are not read, because
they are not the time of an NPU. Its packages need another version of NumPy than this project, so they are installed in
an environment of their own, and every session is a process there.
"""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.evidence.environment import Environment, Placement
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors, from_file, load_runtime, to_file
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.process import ROOT

HOME = ROOT / ".venv" / "qnn"
PYTHON = HOME / "bin" / "python"
GUEST = Path(__file__).with_name("guest.py")
VERSION = "2.7.0"
# HTP architecture -> QNN's id of a system on a chip that has it: Snapdragon 8 Gen 2, 8 Gen 3, 8 Elite.
SOCS = {"73": "43", "75": "57", "79": "69"}
# Seconds without an answer after which a process counts as hung.
HANG = 300.0


class QnnSession:
    """One file on one architecture, in a process of its own. `placement` counts the nodes on the NPU and the CPU."""

    def __init__(self, path: Path, entry: Entry, architecture: str) -> None:
        self.path, self.entry = path, entry
        self.scratch = tempfile.TemporaryDirectory(prefix="hydra-qnn-")
        self.errors = Path(self.scratch.name) / "errors.txt"
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [str(PYTHON), str(GUEST), str(path), architecture, SOCS[architecture]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.scratch.name,
                text=True,
            )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        self.outputs: dict[str, Array] = {}
        self.placement = Placement(**self.answer("open"))

    def listen(self) -> None:
        """Queue the lines of the process, then "" when it ends. Runs in a thread, so that `answer` can time out."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put("")

    def answer(self, stage: str) -> dict[str, Any]:
        """Return the next answer. Raises StageError with the end of stderr where the process dies or hangs."""
        try:
            line = self.answers.get(timeout=HANG)
        except queue.Empty:
            line = ""
        if not line:
            self.process.kill()
            stderr = " ".join(self.errors.read_text(errors="replace").split())[-400:]
            self.close()
            raise StageError(
                stage, f"{self.path} on Qualcomm's simulator: {stderr or f'no answer within {HANG:.0f} s'}"
            )
        content: dict[str, Any] = json.loads(line)
        return content

    def bind(self, inputs: Tensors) -> None:
        feeds: dict[str, Any] = {port.file_name: to_file(port, inputs[port.name]) for port in self.entry.inputs}
        np.savez(Path(self.scratch.name) / "inputs.npz", **feeds)

    def invoke(self) -> float:
        assert self.process.stdin is not None
        files = {side: str(Path(self.scratch.name) / f"{side}.npz") for side in ("inputs", "outputs")}
        started = perf_counter()
        self.process.stdin.write(json.dumps(files) + "\n")
        self.process.stdin.flush()
        self.answer("run")
        with np.load(files["outputs"]) as stored:
            self.outputs = {name: stored[name] for name in stored.files}
        return perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {port.name: from_file(port, self.outputs[port.file_name]) for port in self.entry.outputs}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.scratch.cleanup()


class QnnRuntime(Runtime):
    evidence: Label = "interpreted"
    targets = ("onnx",)
    # The NPU computes in float16 or integers, so a float32 file would miss the limits of its recipe.
    recipes = ("float16", "w8a8", "w8a8s", "w8a16")
    timed = False

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        self.name = f"ort-qnn-v{architecture}"
        self.about = f"Qualcomm's simulator of its NPU, HTP v{architecture}: its arithmetic, not its speed"
        self.placed: dict[str, Placement] = {}

    def unavailable(self) -> str | None:
        return None if PYTHON.is_file() else "onnxruntime-qnn is not installed; run: scripts/setup.sh qnn"

    def version(self) -> dict[str, str]:
        return {"onnxruntime-qnn": VERSION, "htp_arch": self.architecture}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> QnnSession:
        missing = self.unavailable()
        if missing:
            raise StageError("open", missing)
        session = QnnSession(folder / entry.file, entry, self.architecture)
        self.placed[entry.id] = session.placement
        return session

    def environment(self, threads: int = 1) -> Environment:
        """Return the placement of each entry opened so far: partitions, NPU operators and CPU operators."""
        return Environment(placement=dict(self.placed))

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return load_runtime("onnxruntime").read_dtypes(folder, entry)


def v73() -> QnnRuntime:
    return QnnRuntime("73")


def v75() -> QnnRuntime:
    return QnnRuntime("75")


def v79() -> QnnRuntime:
    return QnnRuntime("79")
