"""Named recipes: each weight of a float16 package stored as its layer is to be, palettes with our own values."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.gptq import as_matrix, from_matrix, half, palette_grid, to_grid
from export.quantize.layers import Assigned, Layer, Plan, decoded_by_channel, laid_like
from export.targets.coreml import compress
from export.targets.coreml.convert import SingleFunctionPackage
from export.targets.coreml.package import WEIGHTS
from export.targets.coreml.vendor import load_compression, load_coremltools
from hydramobile.errors import StageError
from hydramobile.recipes import CALIBRATED_BITS, Recipe

Array = NDArray[Any]
# What a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8", "p6", "p4g8", "w4", "p3g8")
SPARSE = "a layer is dense here; sparse weights are a recipe of their own"


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    if recipe.scheme == "float":
        return None if recipe.weight_bits == 16 else "layers that stay float are float16 here"
    reason = compress.refuses(recipe)
    if reason:
        return reason
    if getattr(recipe, "sparsity", 0):
        return SPARSE
    if recipe.block and recipe.scheme == "int":
        return "blocks of inputs are a recipe of their own; layers have a scale a channel or palettes"
    if recipe.block and layer.outputs % recipe.block:
        return f"{layer.outputs} channels do not divide into groups of {recipe.block}"
    return None


def calibrates(recipe: Recipe) -> bool:
    return recipe.scheme in ("int", "palette") and recipe.weight_bits <= CALIBRATED_BITS


def decoded(layer: Layer, recipe: Recipe, gram: Array | None) -> Array:
    """The weight as a reader of the file sees it; scales are float16 in the file, which moves values by 2**-11."""
    matrix = as_matrix(layer.value, layer.axis)
    if recipe.scheme == "float":
        made = half(matrix)
    elif recipe.scheme == "int":
        return decoded_by_channel(layer, recipe, gram)
    else:
        importance = None if gram is None else np.diag(gram)
        made = to_grid(matrix, palette_grid(matrix, recipe.weight_bits, recipe.block, importance), gram)
    return from_matrix(made, layer.value.shape, layer.axis)


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    size, outputs = layer.value.size, layer.outputs
    if recipe.scheme == "palette":
        return size * recipe.weight_bits / 8 + (2 << recipe.weight_bits) * (outputs // (recipe.block or outputs))
    return size * recipe.weight_bits / 8 + (2 * outputs if recipe.scheme == "int" else 0)


def compress_layers(plain: SingleFunctionPackage, package: Path, plan: Plan) -> SingleFunctionPackage:
    """The package with every weight that is a layer's stored as `plan` says; all else stays float16."""
    ct, compression = load_coremltools(), load_compression()
    model = ct.models.MLModel(str(plain.package), skip_model_load=True)
    palettes: dict[str, Any] = {}
    integers: dict[str, Any] = {}
    rounded: list[tuple[bytes, bytes]] = []
    for name, weight in compression.get_weights_metadata(model, weight_threshold=0).items():
        row = plan.find(weight.val)
        if row is None or row.recipe.scheme == "float":
            continue
        if row.recipe.scheme == "int":
            integers[name] = compress.settings(compression, row.recipe, 0)
            if row.decoded is not None:
                made = laid_like(row.layer, row.decoded, weight.val).astype(weight.val.dtype)
                rounded.append((weight.val.tobytes(), made.tobytes()))
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
    """Exchange the values of weights in a package, found by their bytes, for others of the same number.

    coremltools rounds to the nearest; values that lie on its grid already it leaves where they are.
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
    recipe = row.recipe
    grain = {"granularity": "per_grouped_channel", "group_size": recipe.block} if recipe.block else {}
    if row.decoded is None:
        return compression.OpPalettizerConfig(mode="kmeans", nbits=recipe.weight_bits, weight_threshold=0, **grain)
    return compression.OpPalettizerConfig(mode="custom", lut_function=tables(row, stored), weight_threshold=0, **grain)


def split(array: Array, axis: int, groups: int) -> list[Array]:
    return np.split(np.swapaxes(array, 0, axis), groups) if groups > 1 else [array]


def tables(row: Assigned, stored: Array) -> Callable[[Array], tuple[Array, Array]]:
    """coremltools asks for (palette, indices) of a weight, group of channels by group; ours are looked up."""
    layer, bits = row.layer, row.recipe.weight_bits
    assert row.decoded is not None
    wanted = laid_like(layer, row.decoded, stored).astype(stored.dtype)
    groups = layer.outputs // (row.recipe.block or layer.outputs)
    parts = [
        np.split(np.swapaxes(array, 0, layer.axis), groups) if groups > 1 else [array] for array in (stored, wanted)
    ]
    known = {before.tobytes(): after for before, after in zip(*parts, strict=True)}

    def look_up(block: Array) -> tuple[Array, Array]:
        made = known.get(block.tobytes())
        if made is None:
            raise StageError("quantize", f"{layer.name}: coremltools groups its channels in an unknown way")
        palette, indices = np.unique(made.ravel(), return_inverse=True)
        if len(palette) > 2**bits:
            raise StageError("quantize", f"{layer.name}: {len(palette)} values do not fit a palette of {bits} bits")
        filled = np.concatenate([palette, np.full(2**bits - len(palette), palette[-1])]).astype(block.dtype)
        return filled, indices.ravel().astype(np.uint8)

    return look_up
