"""Store measurements on disk, so that a stopped search can resume, under keys that say when they still hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.program import Program
from export.search.reach import ROOT, reach
from export.target import load_storage
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text
from hydramobile.model_code import import_root
from hydramobile.samples import Sample

# The modules that measure and judge. Every module that they reach by imports decides a measurement with them.
MEASURED_BY = ("export.search.sensitivity", "export.search.losses", "export.quantize.gram", "export.program")


class Store:
    """Measurements by key, in one file per set of common dependencies.

    The file's name is a hash of `depends`; the file holds `depends` itself for a reader who asks why a search began
    anew.
    """

    def __init__(self, folder: Path, depends: Mapping[str, Any]) -> None:
        self.depends = depends
        self.path = folder / f"measured-{digest(depends)}.json"
        self.known: dict[str, Any] = {}
        if self.path.is_file():
            try:
                self.known = dict(read_json(self.path, "search")["measured"])
            except (StageError, ValueError, KeyError, TypeError):
                self.known = {}  # a torn file costs its measurements, nothing else

    def get(self, key: str) -> Any:
        """Return a measurement, or None."""
        return self.known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Add a measurement and write the file."""
        self.known[key] = value
        write_text(self.path, dump_json({"schema": 1, "depends": self.depends, "measured": self.known}))


def depends_on(program: Program, samples: Sequence[Sample], photos: Sequence[Sample]) -> dict[str, Any]:
    """Return the inputs of a measurement on any target: the net, the samples, and the code that runs and judges.

    The rounding of a layer depends on the target's own code too (`storage_hash`).
    """
    spec = program.spec
    root = import_root(spec)
    folders = (ROOT,) if root is None else (ROOT, root)
    tensors = {name: [*tensor.at(program.size), tensor.judge, tensor.range] for name, tensor in spec.tensors.items()}
    modules = {name: [module.inputs, module.outputs] for name, module in spec.modules.items()}
    return {
        "weights": spec.weights_sha256,
        "net": {"factory": spec.factory, "tensors": tensors, "modules": modules},
        "judged by": [sample.sha256 for sample in samples],
        "calibrated by": [sample.sha256 for sample in photos],
        "code": reach((*MEASURED_BY, spec.factory.partition(":")[0]), folders),
    }


def storage_hash(target: str) -> str:
    """Return a hash of the code that knows how a target stores a layer."""
    return digest(reach([load_storage(target).__name__]))


def digest(value: Any) -> str:
    """Return a short hash of a JSON value."""
    return sha256_bytes(canonical_json(value).encode())[:16]
