"""Named recipes: each weight of a graph model in a storage type of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.gptq import half
from export.quantize.layers import Layer, Plan
from export.targets.tfjs.encode import affine
from export.targets.tfjs.lower import Lowered
from hydramobile.recipes import Recipe

Array = NDArray[Any]
# What a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8")
KINDS = {("float", 32): "float32", ("float", 16): "float16", ("int", 16): "uint16", ("int", 8): "uint8"}


def kind_of(recipe: Recipe) -> str | None:
    """The storage type of a layer, or None where the format has none such."""
    if recipe.block or getattr(recipe, "sparsity", 0):
        return None
    return KINDS.get((recipe.scheme, recipe.weight_bits))


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    return None if kind_of(recipe) else "a TF.js layer is float32, float16, w16 or w8 (one scale a weight)"


def calibrates(recipe: Recipe) -> bool:
    """Codes of 8 and 16 bits are rounded to the nearest."""
    return False


def decoded(layer: Layer, recipe: Recipe, gram: Array | None) -> Array:
    kind, value = kind_of(recipe), layer.value
    if kind == "float32":
        return value
    if kind == "float16":
        return half(value).astype(np.float32)
    codes, scale, low = affine(value, 255 if kind == "uint8" else 65535)
    return np.asarray(low + codes * scale, dtype=np.float32)


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    return layer.value.size * recipe.weight_bits / 8


def kinds(graph: Lowered, plan: Plan) -> dict[str, str]:
    """Storage types of the graph's weights that are a layer's, by the weight's name."""
    found: dict[str, str] = {}
    for weight in graph.weights:
        row = plan.find(weight.value) if weight.kernel and weight.value.dtype == np.float32 else None
        kind = kind_of(row.recipe) if row else None
        if kind:
            found[weight.name] = kind
    return found
