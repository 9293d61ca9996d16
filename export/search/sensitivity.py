"""Measure how much the rounding of each layer moves the net's outputs: once per layer, carried over to every option.

A layer is rounded coarsely, alone, and the noise at the outputs is measured. The noise of another option is that noise
times the ratio of the squared errors of the layer's own outputs (on the calibration samples, by the Gram matrix of its
inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from export.quantize.layers import Layer
from export.quantize.storage import LayerStorage
from export.search.decoder import Decoder
from export.search.losses import Bench
from export.search.solve import Option
from export.search.store import Store, storage_hash
from export.target import load_storage
from hydramobile.files import canonical_json
from hydramobile.recipes import recipe

# Samples that layers are ranked by, evenly spread; decisions are measured on all samples.
RANKED_BY = 6
# Called with the stage, the steps done, and their number.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One layer alone under the coarsest option of all targets.

    `noise` maps each final output to its noise; `error` is the squared error of the layer's own outputs.
    """

    noise: Mapping[str, float]
    error: float


def measure(
    bench: Bench, decoder: Decoder, targets: tuple[str, ...], store: Store, progress: Progress
) -> dict[str, Measured]:
    """Round each layer alone and measure the outputs; measurements that `store` holds are taken from it."""
    count = min(RANKED_BY, len(bench.samples))
    picked = [index * len(bench.samples) // count for index in range(count)]
    code = {target: storage_hash(target) for target in targets}
    measured: dict[str, Measured] = {}
    for number, (name, layer) in enumerate(decoder.layers.items()):
        progress("sensitivity", number, len(decoder.layers))
        target, option = coarsest(decoder, targets, name)
        key = canonical_json(["alone", name, target, option, code[target], picked])
        known = store.get(key)
        if known is None:
            bench.set_weights({name: decoder.value(target, name, option)}, decoder.layers)
            try:
                known = {"noise": bench.noise([layer.module], picked), "error": decoder.error(target, name, option)}
            finally:
                bench.set_weights({name: layer.value}, decoder.layers)
            store.put(key, known)
        measured[name] = Measured(known["noise"], known["error"])
    return measured


def coarsest(decoder: Decoder, targets: tuple[str, ...], name: str) -> tuple[str, str]:
    """Return the (target, option) that stores the layer in the fewest bits; of equal ones, the first target's."""
    pairs = [
        (target, option) for target in targets for option in options_of(load_storage(target), decoder.layers[name])
    ]
    return min(pairs, key=lambda pair: recipe(pair[1]).weight_bits)


def options_of(storage: LayerStorage, layer: Layer) -> list[str]:
    """Return the options under which a target can store a layer, the most exact first."""
    return [name for name in storage.OPTIONS if storage.layer_refuses(layer, recipe(name)) is None]


def option_table(decoder: Decoder, measured: Mapping[str, Measured], target: str) -> dict[str, list[Option]]:
    """Return every layer's options for one target, with their bytes and noise."""
    storage = load_storage(target)
    return {
        name: [
            Option(
                option,
                storage.layer_bytes(layer, recipe(option)),
                scale_noise(measured[name], decoder.error(target, name, option)),
            )
            for option in options_of(storage, layer)
        ]
        for name, layer in decoder.layers.items()
    }


def scale_noise(measured: Measured, error: float) -> dict[str, float]:
    """Return the noise at each output of an option that moves the layer's own outputs by `error`, squared."""
    share = error / measured.error if measured.error > 0 else 0.0
    return {name: value * share for name, value in measured.noise.items()}
