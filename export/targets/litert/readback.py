"""Decode the weights of a saved .tflite file, and state how a recipe should store each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.targets.litert import flatbuffer
from export.targets.litert.biases import COPY
from export.targets.litert.describe import DTYPES
from export.targets.litert.passes.flatbuffer.decompose_single_channel_conv import original_weight_shapes
from export.targets.litert.recipes import DEPTHWISE_BITS, unheld_outputs
from export.targets.litert.static import WEIGHTED, float_tensors, ranges_of
from export.verify.expected import Expected, expect, expect_layer, expect_unchanged, recipe_finder
from export.verify.readback import STAGE, Saved
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

Array = NDArray[Any]
NUMPY = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "int16": "<i2"}


def read_weights(folder: Path, entries: tuple[Entry, ...]) -> Iterator[Saved]:
    """Yield every constant of two or more dimensions, named as its tensor, whose name is unique in the file.

    A fused graph reads the modules' own buffers, which `emit` checks, unless it is a file of its own.
    """
    seen: set[str] = set()
    for entry in entries:
        model = flatbuffer.load(folder / entry.file, STAGE)
        graph = model.subgraphs[flatbuffer.signature(model, entry.function or entry.name).subgraphIndex]
        shapes = dict(original_weight_shapes(model, graph))
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            full_name = flatbuffer.text(tensor.name)
            name = COPY.sub("", full_name)
            if data is None or not len(data) or tensor.shape is None or len(tensor.shape) < 2 or name in seen:
                continue
            storage = DTYPES.get(tensor.type, "")
            if int(np.prod(tensor.shape)) > flatbuffer.MAX_SMALL_CONSTANT and (storage in NUMPY or storage == "int4"):
                seen.add(name)
                values = decode(tensor, bytes(bytearray(data)), storage)
                yield Saved(name, values.reshape(shapes.get(full_name, values.shape)), storage)


def decode(tensor: Any, data: bytes, storage: str) -> Array:
    """Return (codes - zero point) * scale, with one scale per tensor or per index of the quantized dimension."""
    shape = [int(size) for size in tensor.shape]
    if storage == "int4":
        packed = np.frombuffer(data, np.uint8)
        halves = np.stack([packed & 15, packed >> 4], axis=1).ravel()[: int(np.prod(shape))].astype(np.int8)
        codes: Array = np.where(halves > 7, halves - 16, halves)
    else:
        codes = np.frombuffer(data, NUMPY[storage])
    if codes.size != int(np.prod(shape)):
        raise StageError(STAGE, f"{flatbuffer.text(tensor.name)!r} holds {codes.size} elements for the shape {shape}")
    codes = codes.reshape(shape)
    coding = tensor.quantization
    if coding is None or coding.scale is None or not len(coding.scale):
        return codes
    along = [1] * len(shape)
    if len(coding.scale) > 1:
        along[int(coding.quantizedDimension)] = -1
    scale = np.asarray(coding.scale, np.float32).reshape(along)
    zero = np.asarray(coding.zeroPoint, np.float32).reshape(along)
    values: Array = (codes.astype(np.float32) - zero) * scale
    return values


def originals(program: Program, converted: bytes, recipe: Recipe) -> dict[str, Expected]:
    """Return the float weights that the operators of every module read, and how `recipe` stores each."""
    model = flatbuffer.parse(converted)
    floats = set(unheld_outputs(converted)) if recipe.name == "float16" else set()
    if recipe.activation_bits:
        floats = set(float_tensors(program, model, ranges_of(program, converted, model, recipe)))
    least = 0 if recipe.activation_bits or recipe.scheme == "float" else program.least_quantized()
    recipe_of = recipe_finder(program, recipe, "litert") if recipe.base else None
    wider = replace(recipe, weight_bits=max(recipe.weight_bits, DEPTHWISE_BITS))
    expected: dict[str, Expected] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            weight = float_weight(model, graph, operator)
            if weight is None:
                continue
            name, value = weight
            if recipe_of is not None:
                expected[name] = expect_layer(value, recipe_of(value), "float32")
                continue
            in_region = any(flatbuffer.text(graph.tensors[int(index)].name) in floats for index in operator.outputs)
            depthwise = flatbuffer.opcode(model, operator) == "DEPTHWISE_CONV_2D"
            stays = in_region or value.size < least
            expected[name] = (
                expect_unchanged(value, "float32") if stays else expect(value, wider if depthwise else recipe)
            )
    return expected


def float_weight(model: Any, graph: Any, operator: Any) -> tuple[str, Array] | None:
    """Return the name and the elements of an operator's float32 weight; None for operators without one."""
    if flatbuffer.opcode(model, operator) not in WEIGHTED:
        return None
    tensor = graph.tensors[int(operator.inputs[1])]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or len(tensor.shape) < 2 or DTYPES[tensor.type] != "float32":
        return None
    value = decode(tensor, bytes(bytearray(data)), "float32")
    return (flatbuffer.text(tensor.name), value) if value.size > flatbuffer.MAX_SMALL_CONSTANT else None
