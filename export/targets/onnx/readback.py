"""What an ONNX file holds of the weights it was made from, decoded from its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.targets.onnx.half import kept_weights
from export.targets.onnx.static import WEIGHTED, excluded
from export.targets.onnx.weights import compressible
from export.verify.readback import Saved, Wanted, kept, layer_finder, wanted, wanted_layer
from hydramobile.artifact import Entry
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# What the recipes append to the name of a weight that they store otherwise.
SUFFIXES = (".int8", ".int4", ".half", "_quantized")
SMALL = 16


def read_weights(folder: Path, entries: tuple[Entry, ...]) -> Iterator[Saved]:
    """Every constant of two or more dimensions, as "<entry id>/<name>"; integers behind DequantizeLinear decoded."""
    import onnx
    from onnx import numpy_helper

    for entry in entries:
        graph = onnx.load(folder / entry.file).graph
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        decoded = {
            node.input[0]: (node, dequantized(node, stored))
            for node in graph.node
            if node.op_type == "DequantizeLinear" and set(node.input) <= set(stored)
        }
        for name, value in stored.items():
            if value.ndim < 2 or value.size <= SMALL:
                continue
            found = decoded[name][1] if name in decoded else value
            yield Saved(f"{entry.id}/{original_name(name)}", found, str(value.dtype))


def original_name(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def dequantized(node: onnx.NodeProto, stored: Mapping[str, Array]) -> Array:
    """(integers - zero point) * scale, one scale a tensor or one an index of the node's axis."""
    integers, scale = stored[node.input[0]], stored[node.input[1]]
    zero = stored[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros_like(scale, integers.dtype)
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    shape = [-1 if dim == axis % integers.ndim else 1 for dim in range(integers.ndim)] if scale.ndim else []
    shifted = integers.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    made: Array = shifted * scale.astype(np.float32).reshape(shape)
    return made


def originals(program: Program, converted: Mapping[str, onnx.ModelProto], recipe: Recipe) -> dict[str, Wanted]:
    """The float weights of every entry, and how `recipe` stores each."""
    from onnx import numpy_helper

    found: dict[str, Wanted] = {}
    for ident, model in converted.items():
        entry = program.spec.entries[ident.partition("@")[0]]
        layers = layer_weights(program, entry, model, recipe)
        whole = kept_weights(program, entry, model) if recipe.name == "float16" else set()
        named = layer_finder(program, recipe, "onnx") if recipe.base else None
        for tensor in model.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.ndim < 2 or value.size <= SMALL or value.dtype != np.float32:
                continue
            if named is not None:
                layer = named(value) if tensor.name in layers else None
                found[f"{ident}/{tensor.name}"] = wanted_layer(value, layer, "float32")
                continue
            if tensor.name in whole:
                found[f"{ident}/{tensor.name}"] = kept(value, "float32")
                continue
            own = wanted(value, recipe)
            if tensor.name not in layers:
                # A small weight, one of a layer in float, or none of a layer: static integers and float16 store many
                # of these their own way too.
                either = own.storage if recipe.activation_bits or recipe.scheme == "float" else ()
                own = replace(own, storage=(*either, "float32"))
            found[f"{ident}/{tensor.name}"] = own
    return found


def layer_weights(program: Program, entry: EntrySpec, model: onnx.ModelProto, recipe: Recipe) -> set[str]:
    """The weights that the recipe speaks of."""
    if not recipe.activation_bits:
        every = recipe.scheme == "float" or recipe.base
        return set(compressible(model, 0 if every else program.least_quantized()))
    held = set(excluded(program, entry, model))
    floats = {name for node in model.graph.node if node.name in held for name in node.input}
    return {
        node.input[1]
        for node in model.graph.node
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] not in floats
    }
