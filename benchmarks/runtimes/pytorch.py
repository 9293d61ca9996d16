"""Run the reference in PyTorch, for the latency that the other runtimes are compared with. It runs no artifact."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evidence.cost import ModuleCost
from benchmarks.evidence.row import Label
from benchmarks.runtime import Array, Runtime, Tensors
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.loader import as_tuple, load_modules
from hydramobile.spec import EntrySpec, ModelSpec

if TYPE_CHECKING:
    import torch


class PyTorchSession:
    """The reference modules of one entry, in float32."""

    def __init__(self, spec: ModelSpec, entry: EntrySpec, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.modules = load_modules(spec)
        self.spec, self.entry = spec, entry
        self.known: dict[str, torch.Tensor] = {}

    def bind(self, inputs: Tensors) -> None:
        import torch

        self.known = {name: torch.from_numpy(np.asarray(inputs[name], order="C")) for name in self.entry.inputs}

    def invoke(self) -> float:
        import torch

        with torch.inference_mode():
            started = time.perf_counter()
            for name in self.entry.modules:
                module = self.spec.modules[name]
                returned = self.modules[name](*(self.known[tensor] for tensor in module.inputs))
                self.known.update(zip(module.outputs, as_tuple(returned), strict=True))
            return time.perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {name: self.known[name].numpy().copy() for name in self.entry.outputs}

    def close(self) -> None:
        self.known = {}


def module_costs(spec: ModelSpec) -> list[ModuleCost]:
    """Return the cost of each module of the reference, run on zeros: shapes decide the counts, elements do not."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    known: dict[str, torch.Tensor] = {}
    for name in spec.inputs():
        tensor = spec.tensors[name]
        known[name] = torch.zeros(tensor.at(spec.size), dtype=getattr(torch, tensor.dtype))
    costs = []
    for name, module in load_modules(spec).items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            returned = module(*(known[tensor] for tensor in spec.modules[name].inputs))
        known.update(zip(spec.modules[name].outputs, as_tuple(returned), strict=True))
        # The counter counts a multiply-accumulate as two operations.
        kinds = {str(kind): int(count) // 2 for kind, count in counter.get_flop_counts()["Global"].items()}
        sizes = [sum(tensor.numel() for tensor in group) for group in (module.parameters(), module.buffers())]
        costs.append(ModuleCost(name, sizes[0], sizes[1], sum(kinds.values()), dict(sorted(kinds.items()))))
    return costs


class PyTorchRuntime(Runtime):
    name = "pytorch"
    evidence: Label = "host"
    targets: tuple[str, ...] = ()
    timed = True
    about = "PyTorch eager on this computer's CPU: the reference"

    def unavailable(self) -> str | None:
        return None if importlib.util.find_spec("torch") else "torch is not installed; run: make setup"

    def version(self) -> dict[str, str]:
        return {"torch": importlib.metadata.version("torch")}

    def open(self, folder: Path, entry: Entry, threads: int = 1) -> PyTorchSession:
        raise StageError("open", "PyTorch runs the reference, not artifacts; use open_reference")

    def open_reference(self, spec: ModelSpec, entry: EntrySpec, threads: int = 1) -> PyTorchSession:
        return PyTorchSession(spec, entry, threads)

    def module_costs(self, spec: ModelSpec) -> list[ModuleCost]:
        return module_costs(spec)

    def read_dtypes(self, folder: Path, entry: Entry) -> dict[str, int]:
        return {}
