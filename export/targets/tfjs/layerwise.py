"""Store each weight of a graph model in its layer's own storage type, for named recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.grids import round_float16
from export.quantize.layers import Layer
from export.quantize.plan import LayerMatcher
from export.targets.tfjs.encode import affine
from export.targets.tfjs.lower import Lowered
from hydramobile.recipes import Recipe

Array = NDArray[Any]
# The recipes that a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8")
STORAGE = {("float", 32): "float32", ("float", 16): "float16", ("int", 16): "uint16", ("int", 8): "uint8"}


def storage_of(recipe: Recipe) -> str | None:
    """Return the storage type of a layer under `recipe`, or None where the format has none."""
    if recipe.block or recipe.sparsity:
        return None
    return STORAGE.get((recipe.scheme, recipe.weight_bits))


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    """Return why a graph model cannot store the layer under `recipe`, or None."""
    return None if storage_of(recipe) else "a TF.js layer is float32, float16, w16 or w8 (one scale per weight)"


def calibrates(recipe: Recipe) -> bool:
    """Return False: codes of 8 and 16 bits are rounded to the nearest."""
    return False


def decode_layer(layer: Layer, recipe: Recipe, gram: Array | None) -> Array:
    """Return the weight as TF.js decodes it, float32 in PyTorch's layout."""
    storage, value = storage_of(recipe), layer.value
    if storage == "float32":
        return value
    if storage == "float16":
        return round_float16(value).astype(np.float32)
    codes, scale, low = affine(value, 255 if storage == "uint8" else 65535)
    return np.asarray(low + codes * scale, dtype=np.float32)


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    """Return the bytes of the layer in a file."""
    return layer.value.size * recipe.weight_bits / 8


def storage_by_weight(graph: Lowered, matcher: LayerMatcher) -> dict[str, str]:
    """Return the storage type of each of the graph's weights that belongs to a layer, by the weight's name."""
    result: dict[str, str] = {}
    for weight in graph.weights:
        row = matcher.match(weight.value) if weight.kernel and weight.value.dtype == np.float32 else None
        storage = storage_of(row.recipe) if row else None
        if storage:
            result[weight.name] = storage
    return result
