"""Layers as float32, float16 or symmetric integers with a float32 scale per channel, as ONNX and LiteRT store them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.gptq import round_to_grid
from export.quantize.grids import as_matrix, from_matrix, round_float16, round_symmetric, symmetric_grid
from export.quantize.layers import Layer
from hydramobile.recipes import CALIBRATED_BITS, Recipe

Array = NDArray[Any]


def calibrates_per_channel(recipe: Recipe) -> bool:
    """Return whether integers of the recipe are rounded with calibration samples."""
    return recipe.scheme == "int" and recipe.weight_bits <= CALIBRATED_BITS


def decode_per_channel(layer: Layer, recipe: Recipe, gram: Array | None) -> Array:
    """Return the weight of `layer` as a reader decodes it from a file, float32 in PyTorch's layout."""
    matrix = as_matrix(layer.value, layer.axis)
    if recipe.scheme == "float":
        rounded = matrix if recipe.weight_bits == 32 else round_float16(matrix)
    elif not calibrates_per_channel(recipe):
        rounded = round_symmetric(matrix, recipe.weight_bits)
    else:
        importance = None if gram is None else np.diag(gram)
        grid = symmetric_grid(matrix, recipe.weight_bits, importance)
        rounded = round_to_grid(matrix, grid, gram, pinned=True)
    return from_matrix(rounded, layer.value.shape, layer.axis)
