"""Store each weight of a float16 package in its layer's own storage type, for named recipes; palettes are ours."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.gptq import round_to_grid
from export.quantize.grids import as_matrix, from_matrix, palette_grid, round_float16
from export.quantize.layers import Layer, in_stored_layout
from export.quantize.per_channel import decode_per_channel
from export.quantize.plan import Assigned, LayerMatcher
from export.targets.coreml import compress
from export.targets.coreml.convert import SingleFunctionPackage
from export.targets.coreml.package import WEIGHTS
from export.targets.coreml.vendor import load_compression, load_coremltools
from hydramobile.errors import StageError
from hydramobile.recipes import CALIBRATED_BITS, Recipe

Array = NDArray[Any]
# The recipes that a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8", "p6", "p4g8", "w4", "p3g8")
SPARSE = "layers are dense here; sparse weights are a recipe of their own"


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    """Return why a Core ML package cannot store the layer under `recipe`, or None."""
    if recipe.scheme == "float":
        return None if recipe.weight_bits == 16 else "layers that stay float are float16 here"
    reason = compress.refuses(recipe)
    if reason:
        return reason
    if recipe.sparsity:
        return SPARSE
    if recipe.block and recipe.scheme == "int":
        return "blocks of inputs are a recipe of their own; layers have a scale per channel or palettes"
    if recipe.block and layer.outputs % recipe.block:
        return f"{layer.outputs} channels do not divide into groups of {recipe.block}"
    return None


def calibrates(recipe: Recipe) -> bool:
    """Return whether layers under `recipe` are rounded with calibration samples."""
    return recipe.scheme in ("int", "palette") and recipe.weight_bits <= CALIBRATED_BITS


def decode_layer(layer: Layer, recipe: Recipe, gram: Array | None) -> Array:
    """Return the weight as a reader decodes it; scales are float16 in the file, which moves elements by 2**-11."""
    matrix = as_matrix(layer.value, layer.axis)
    if recipe.scheme == "float":
        rounded = round_float16(matrix)
    elif recipe.scheme == "int":
        return decode_per_channel(layer, recipe, gram)
    else:
        importance = None if gram is None else np.diag(gram)
        grid = palette_grid(matrix, recipe.weight_bits, recipe.block, importance)
        rounded = round_to_grid(matrix, grid, gram)
    return from_matrix(rounded, layer.value.shape, layer.axis)


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    """Return the bytes of the layer in a file."""
    size, outputs = layer.value.size, layer.outputs
    if recipe.scheme == "palette":
        return size * recipe.weight_bits / 8 + (2 << recipe.weight_bits) * (outputs // (recipe.block or outputs))
    return size * recipe.weight_bits / 8 + (2 * outputs if recipe.scheme == "int" else 0)


def compress_layers(plain: SingleFunctionPackage, package: Path, matcher: LayerMatcher) -> SingleFunctionPackage:
    """Store the weight of every layer as the matcher's plan says, in a new `package`; other weights stay float16."""
    ct, compression = load_coremltools(), load_compression()
    model = ct.models.MLModel(str(plain.package), skip_model_load=True)
    palettes: dict[str, Any] = {}
    integers: dict[str, Any] = {}
    rounded: list[tuple[bytes, bytes]] = []
    for name, weight in compression.get_weights_metadata(model, weight_threshold=0).items():
        row = matcher.match(weight.val)
        if row is None or row.recipe.scheme == "float":
            continue
        if row.recipe.scheme == "int":
            integers[name] = compress.settings(compression, row.recipe, 0)
            if row.decoded is not None:
                values = in_stored_layout(row.layer, row.decoded, weight.val).astype(weight.val.dtype)
                rounded.append((weight.val.tobytes(), values.tobytes()))
        else:
            palettes[name] = palette_settings(compression, row, weight.val)
    if rounded:
        source = package.with_suffix(".rounded.mlpackage")
        shutil.copytree(plain.package, source)
        replace_weights(source, rounded)
        model = ct.models.MLModel(str(source), skip_model_load=True)
    if palettes:
        model = compression.palettize_weights(model, compression.OptimizationConfig(op_name_configs=palettes))
    if integers:
        model = compression.linear_quantize_weights(model, compression.OptimizationConfig(op_name_configs=integers))
    model.save(str(package))
    return SingleFunctionPackage(package, plain.ios, plain.note)


def replace_weights(package: Path, rounded: list[tuple[bytes, bytes]]) -> None:
    """Replace weights in a package, found by their bytes, by others of the same length.

    coremltools rounds to the nearest; elements that already lie on its grid stay where they are.
    """
    files = {path: path.read_bytes() for path in sorted((package / "Data" / WEIGHTS).iterdir())}
    for old, new in rounded:
        holders = [path for path, data in files.items() if data.count(old) == 1]
        if len(holders) != 1:
            raise StageError("quantize", f"{len(holders)} files hold a weight of {len(old)} bytes, not one")
        files[holders[0]] = files[holders[0]].replace(old, new)
    for path, data in files.items():
        path.write_bytes(data)


def palette_settings(compression: Any, row: Assigned, stored: Array) -> Any:
    """Return coremltools' description of a layer's palettes."""
    recipe = row.recipe
    grain = {"granularity": "per_grouped_channel", "group_size": recipe.block} if recipe.block else {}
    if row.decoded is None:
        return compression.OpPalettizerConfig(mode="kmeans", nbits=recipe.weight_bits, weight_threshold=0, **grain)
    lut_function = lookup_function(row, row.decoded, stored)
    return compression.OpPalettizerConfig(mode="custom", lut_function=lut_function, weight_threshold=0, **grain)


def lookup_function(row: Assigned, decoded: Array, stored: Array) -> Callable[[Array], tuple[Array, Array]]:
    """Return the function by which coremltools asks for the (palette, indices) of each group of a weight's channels.

    The function looks the group up in the weight `stored` and takes its palette from the values `decoded`.
    """
    layer, bits = row.layer, row.recipe.weight_bits
    rounded = in_stored_layout(layer, decoded, stored).astype(stored.dtype)
    groups = layer.outputs // (row.recipe.block or layer.outputs)
    parts = [
        np.split(np.swapaxes(array, 0, layer.axis), groups) if groups > 1 else [array] for array in (stored, rounded)
    ]
    known = {before.tobytes(): after for before, after in zip(*parts, strict=True)}

    def look_up(block: Array) -> tuple[Array, Array]:
        values = known.get(block.tobytes())
        if values is None:
            raise StageError("quantize", f"{layer.name}: coremltools groups its channels in an unknown way")
        palette, indices = np.unique(values.ravel(), return_inverse=True)
        if len(palette) > 2**bits:
            raise StageError("quantize", f"{layer.name}: {len(palette)} values do not fit a palette of {bits} bits")
        filled = np.concatenate([palette, np.full(2**bits - len(palette), palette[-1])]).astype(block.dtype)
        return filled, indices.ravel().astype(np.uint8)

    return look_up
