"""Decode the weights of a saved ONNX file, and state how a recipe should store each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.targets.onnx.half import float32_weights
from export.targets.onnx.static import WEIGHTED, float_nodes
from export.targets.onnx.weights import compressible
from export.verify.expected import Expected, expect, expect_layer, expect_unchanged, recipe_finder
from export.verify.readback import Saved
from hydramobile.artifact import Entry
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# Suffixes that the recipes append to the name of a weight that they store in another type.
SUFFIXES = (".int8", ".int4", ".half", "_quantized")
SMALL = 16


def read_weights(folder: Path, entries: tuple[Entry, ...]) -> Iterator[Saved]:
    """Yield every constant of two or more dimensions, as "<entry id>/<name>"; codes behind DequantizeLinear decoded."""
    import onnx
    from onnx import numpy_helper

    for entry in entries:
        graph = onnx.load(folder / entry.file).graph
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        decoded = {
            node.input[0]: dequantize(node, stored)
            for node in graph.node
            if node.op_type == "DequantizeLinear" and set(node.input) <= set(stored)
        }
        for name, value in stored.items():
            if value.ndim < 2 or value.size <= SMALL:
                continue
            yield Saved(f"{entry.id}/{original_name(name)}", decoded.get(name, value), str(value.dtype))


def original_name(name: str) -> str:
    """Return the name of the weight before the recipe."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def dequantize(node: onnx.NodeProto, stored: Mapping[str, Array]) -> Array:
    """Return (codes - zero point) * scale, with one scale per tensor or per index of the node's axis."""
    codes, scale = stored[node.input[0]], stored[node.input[1]]
    zero = stored[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros_like(scale, codes.dtype)
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    shape = [-1 if dim == axis % codes.ndim else 1 for dim in range(codes.ndim)] if scale.ndim else []
    shifted = codes.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    values: Array = shifted * scale.astype(np.float32).reshape(shape)
    return values


def originals(program: Program, converted: Mapping[str, onnx.ModelProto], recipe: Recipe) -> dict[str, Expected]:
    """Return the float weights of every entry, and how `recipe` stores each."""
    from onnx import numpy_helper

    recipe_of = recipe_finder(program, recipe, "onnx") if recipe.base else None
    expected: dict[str, Expected] = {}
    for ident, model in converted.items():
        entry = program.spec.entries[ident.partition("@")[0]]
        weights = recipe_weights(program, entry, model, recipe)
        floats = float32_weights(program, entry, model) if recipe.name == "float16" else set()
        for tensor in model.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.ndim < 2 or value.size <= SMALL or value.dtype != np.float32:
                continue
            name = f"{ident}/{tensor.name}"
            if recipe_of is not None:
                layer = recipe_of(value) if tensor.name in weights else None
                expected[name] = expect_layer(value, layer, "float32")
            elif tensor.name in floats:
                expected[name] = expect_unchanged(value, "float32")
            elif tensor.name in weights:
                expected[name] = expect(value, recipe)
            else:
                expected[name] = expect_either(value, recipe)
    return expected


def expect_either(value: Array, recipe: Recipe) -> Expected:
    """Expect a weight outside the recipe: a small weight, a weight of a float layer, or a weight of no layer.

    Static integers and float16 may store it in their own type too.
    """
    own = expect(value, recipe)
    either = own.storage if recipe.activation_bits or recipe.scheme == "float" else ()
    return replace(own, storage=(*either, "float32"))


def recipe_weights(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> set[str]:
    """Return the names of the weights that the recipe applies to."""
    if not recipe.activation_bits:
        every = recipe.scheme == "float" or recipe.base
        return set(compressible(model, 0 if every else program.least_quantized()))
    region = set(float_nodes(program, entry, model, recipe))
    floats = {name for node in model.graph.node if node.name in region for name in node.input}
    return {
        node.input[1]
        for node in model.graph.node
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] not in floats
    }
