"""PyTorch itself, for the time the other runtimes are compared with. It runs the reference, not an artifact's file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.runtime import Array, Tensors
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

        self.known = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self.entry.inputs}

    def invoke(self) -> float:
        import torch

        with torch.inference_mode():
            started = time.perf_counter()
            for name in self.entry.modules:
                module = self.spec.modules[name]
                made = self.modules[name](*(self.known[tensor] for tensor in module.inputs))
                self.known.update(zip(module.outputs, as_tuple(made), strict=True))
            return time.perf_counter() - started

    def fetch(self) -> dict[str, Array]:
        return {name: self.known[name].numpy().copy() for name in self.entry.outputs}

    def close(self) -> None:
        self.known = {}


@dataclass(frozen=True, slots=True)
class ModuleCost:
    """`macs` are multiply-accumulates of one run at the default size, by PyTorch's own counter (convolutions and matrix
    products; nothing else multiplies weights); `kinds` splits them by operator. `buffers` are no parameters (running
    means), counted in elements too."""

    module: str
    parameters: int
    buffers: int
    macs: int
    kinds: dict[str, int]


def module_costs(spec: ModelSpec) -> list[ModuleCost]:
    """Each module of the reference, on zeros of the model's declared shapes: shapes decide the count, values do not."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    known: dict[str, torch.Tensor] = {}
    for name in spec.inputs():
        tensor = spec.tensors[name]
        known[name] = torch.zeros(tensor.at(spec.size), dtype=getattr(torch, tensor.dtype))
    found = []
    for name, module in load_modules(spec).items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            made = module(*(known[tensor] for tensor in spec.modules[name].inputs))
        known.update(zip(spec.modules[name].outputs, as_tuple(made), strict=True))
        # The counter counts a multiplication and an addition apart.
        kinds = {str(kind): int(count) // 2 for kind, count in counter.get_flop_counts()["Global"].items()}
        sizes = [sum(tensor.numel() for tensor in group) for group in (module.parameters(), module.buffers())]
        found.append(ModuleCost(name, sizes[0], sizes[1], sum(kinds.values()), dict(sorted(kinds.items()))))
    return found


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

    def module_costs(self, spec: ModelSpec) -> list[ModuleCost]:
        return module_costs(spec)

    def read_dtypes(self, folder: Path, entry: object) -> dict[str, int]:
        return {}
