"""The weights of every layer as each option of each target stores them, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from export.quantize.gptq import output_error
from export.quantize.grids import as_matrix
from export.quantize.layers import Layer
from export.target import load_storage
from hydramobile.recipes import recipe

Array = NDArray[Any]
# Targets that store integers alike share the function that decodes them, and so the result.
Key = tuple[object, str, str]


class Decoder:
    """Decode layers, and cache the results. `grams` holds the Gram matrices of the layers' inputs."""

    def __init__(self, layers: Mapping[str, Layer], grams: Mapping[str, Array]) -> None:
        self.layers = layers
        self.grams = grams
        self.values: dict[Key, Array] = {}
        self.errors: dict[Key, float] = {}

    def value(self, target: str, name: str, option: str) -> Array:
        """Return the weight of a layer as a reader of the target's file decodes it."""
        storage, chosen = load_storage(target), recipe(option)
        key = (storage.decode_layer, name, option)
        if key not in self.values:
            gram = self.grams.get(name) if storage.calibrates(chosen) else None
            self.values[key] = storage.decode_layer(self.layers[name], chosen, gram)
        return self.values[key]

    def error(self, target: str, name: str, option: str) -> float:
        """Return the squared error of the layer's outputs under an option."""
        layer, key = self.layers[name], (load_storage(target).decode_layer, name, option)
        if key not in self.errors:
            decoded, exact = as_matrix(self.value(target, name, option), layer.axis), as_matrix(layer.value, layer.axis)
            self.errors[key] = output_error(exact, decoded, self.grams.get(name))
        return self.errors[key]
