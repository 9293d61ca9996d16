"""PyTorch itself, for the time the other runtimes are compared with. It runs the reference, not an artifact's file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.runtime import Array, Tensors
from models.errors import StageError
from models.spec import EntrySpec, ModelSpec

if TYPE_CHECKING:
    import torch


class PyTorchSession:
    """The reference modules of one entry, in float32."""

    def __init__(self, spec: ModelSpec, entry: EntrySpec, threads: int) -> None:
        import torch

        from models.loader import load_modules

        torch.set_num_threads(threads)
        self.modules = load_modules(spec)
        self.spec, self.entry = spec, entry
        self.known: dict[str, torch.Tensor] = {}

    def bind(self, inputs: Tensors) -> None:
        import torch

        self.known = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self.entry.inputs}

    def invoke(self) -> float:
        import torch

        with torch.inference_mode():
            started = time.perf_counter()
            for name in self.entry.modules:
                module = self.spec.modules[name]
                made = self.modules[name](*(self.known[tensor] for tensor in module.inputs))
                self.known.update(zip(module.outputs, made if isinstance(made, tuple | list) else (made,), strict=True))
            return time.perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {name: self.known[name].numpy().copy() for name in self.entry.outputs}

    def close(self) -> None:
        self.known = {}


class PyTorchRuntime:
    name = "pytorch"
    evidence = "host"
    targets: tuple[str, ...] = ()
    timed = True
    about = "PyTorch eager on this computer's CPU: the reference"

    def unavailable(self) -> str | None:
        return None if importlib.util.find_spec("torch") else "torch is not installed; run: make setup"

    def version(self) -> dict[str, str]:
        return {"torch": importlib.metadata.version("torch")}

    def open(self, folder: Path, entry: object, threads: int = 1) -> PyTorchSession:
        raise StageError("open", "PyTorch runs the reference, not artifacts; use open_reference")

    def open_reference(self, spec: ModelSpec, entry: EntrySpec, threads: int = 1) -> PyTorchSession:
        return PyTorchSession(spec, entry, threads)

    def read_dtypes(self, folder: Path, entry: object) -> dict[str, int]:
        return {}
