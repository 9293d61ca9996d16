"""How much each layer's rounding moves the net's outputs: measured once a layer, carried over to every option.

A layer is rounded coarsely, alone, and the noise at the outputs is measured. Another option's noise is that, times how
much less it moves the layer's own outputs (on the calibration samples, by its inputs' Gram matrix).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from export.program import Program
from export.quantize.gptq import output_error
from export.quantize.grids import as_matrix
from export.quantize.layers import Layer
from export.quantize.storage import LayerStorage
from export.search.losses import Bench
from export.search.reach import ROOT, reach
from export.search.solve import Option
from export.target import load_storage
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text
from hydramobile.model_code import import_root
from hydramobile.recipes import recipe
from hydramobile.samples import Sample

Array = NDArray[Any]
# What measures and judges; all that these reach by imports decides a measurement with them.
MEASURED_BY = ("export.search.sensitivity", "export.search.losses", "export.quantize.gram", "export.program")
# Samples that layers are ranked by, evenly spread; what is decided is measured on all of them.
RANKED_BY = 6


@dataclass(frozen=True, slots=True)
class Measured:
    """`noise`: of each final output with the layer alone at the coarsest option of all targets; `error`: how far the
    layer's own outputs move with it, squared."""

    noise: Mapping[str, float]
    error: float


class Store:
    """Measurements on disk, so that a stopped search goes on: a file for all that they depend on in common.

    `depends`, which the file's name is a hash of, stands in it for a reader who wonders why a search began anew.
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
        return self.known.get(key)

    def put(self, key: str, value: Any) -> None:
        self.known[key] = value
        write_text(self.path, dump_json({"schema": 1, "depends": self.depends, "measured": self.known}))


def depends_on(program: Program, samples: Sequence[Sample], photos: Sequence[Sample]) -> dict[str, Any]:
    """All that decides what is measured, whatever the target: the net, the samples, and the code that runs and judges
    it. What a layer's rounding depends on beside is the target's own (`storage_hash`)."""
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
    """Of the code that knows how a target stores a layer."""
    return digest(reach([load_storage(target).__name__]))


def digest(value: Any) -> str:
    return sha256_bytes(canonical_json(value).encode())[:16]


def options_of(storage: LayerStorage, layer: Layer) -> list[str]:
    return [name for name in storage.OPTIONS if storage.layer_refuses(layer, recipe(name)) is None]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Every layer as every target's every option has it; equal work is done once."""

    layers: Mapping[str, Layer]
    grams: Mapping[str, Array]
    known: dict[tuple[object, str, str], Array] = field(default_factory=dict)
    errors: dict[tuple[object, str, str], float] = field(default_factory=dict)

    def value(self, target: str, name: str, option: str) -> Array:
        storage, chosen = load_storage(target), recipe(option)
        # Targets that store integers alike have the function in common.
        key = (storage.decode_layer, name, option)
        if key not in self.known:
            gram = self.grams.get(name) if storage.calibrates(chosen) else None
            self.known[key] = storage.decode_layer(self.layers[name], chosen, gram)
        return self.known[key]

    def error(self, target: str, name: str, option: str) -> float:
        layer, key = self.layers[name], (load_storage(target).decode_layer, name, option)
        if key not in self.errors:
            made, exact = as_matrix(self.value(target, name, option), layer.axis), as_matrix(layer.value, layer.axis)
            self.errors[key] = output_error(exact, made, self.grams.get(name))
        return self.errors[key]


def measure(
    bench: Bench, decoder: Decoder, targets: tuple[str, ...], store: Store, progress: Callable[[str, int, int], None]
) -> dict[str, Measured]:
    """Round each layer alone and measure; measurements that `store` has are taken from it."""
    count = min(RANKED_BY, len(bench.samples))
    picked = [index * len(bench.samples) // count for index in range(count)]
    code = {target: storage_hash(target) for target in targets}
    found: dict[str, Measured] = {}
    for number, (name, layer) in enumerate(decoder.layers.items()):
        progress("sensitivity", number, len(decoder.layers))
        target, option = coarsest(decoder, targets, name)
        key = canonical_json(["alone", name, target, option, code[target], picked])
        known = store.get(key)
        if known is None:
            bench.put({name: decoder.value(target, name, option)}, decoder.layers)
            try:
                known = {"noise": bench.noise([layer.module], picked), "error": decoder.error(target, name, option)}
            finally:
                bench.put({name: layer.value}, decoder.layers)
            store.put(key, known)
        found[name] = Measured(known["noise"], known["error"])
    return found


def coarsest(decoder: Decoder, targets: tuple[str, ...], name: str) -> tuple[str, str]:
    """The (target, option) that stores the layer in the fewest bits; between equals the first target's."""
    pairs = [
        (target, option) for target in targets for option in options_of(load_storage(target), decoder.layers[name])
    ]
    return min(pairs, key=lambda pair: recipe(pair[1]).weight_bits)


def table_of(decoder: Decoder, measured: Mapping[str, Measured], target: str) -> dict[str, list[Option]]:
    """Every layer's options for one target, with bytes and noise."""
    storage = load_storage(target)
    table: dict[str, list[Option]] = {}
    for name, layer in decoder.layers.items():
        known = measured[name]
        table[name] = [
            Option(
                option,
                storage.layer_bytes(layer, recipe(option)),
                scaled(known, decoder.error(target, name, option)),
            )
            for option in options_of(storage, layer)
        ]
    return table


def scaled(known: Measured, error: float) -> dict[str, float]:
    share = error / known.error if known.error > 0 else 0.0
    return {name: value * share for name, value in known.noise.items()}
