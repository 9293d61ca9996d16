"""What a .tflite file holds of the weights it was made from, decoded from its bytes."""

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
from export.targets.litert.recipes import DEPTHWISE_BITS
from export.targets.litert.static import WEIGHTED, lead_and_tail
from export.verify.readback import STAGE, Saved, Wanted, kept, layer_finder, wanted, wanted_layer
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

Array = NDArray[Any]
NUMPY = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "int16": "<i2"}


def read_weights(folder: Path, entries: tuple[Entry, ...]) -> Iterator[Saved]:
    """Every constant of two or more dimensions of the graphs, by its tensor's name, which is unique in the file.

    A fused graph reads the modules' own buffers, which `emit` checks, unless it is a file of its own.
    """
    seen: set[str] = set()
    for entry in entries:
        model = flatbuffer.load(folder / entry.file, STAGE)
        graph = model.subgraphs[flatbuffer.signature(model, entry.function or entry.name).subgraphIndex]
        spread = dict(original_weight_shapes(model, graph))
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            full = flatbuffer.text(tensor.name)
            name = COPY.sub("", full)
            if data is None or not len(data) or tensor.shape is None or len(tensor.shape) < 2 or name in seen:
                continue
            storage = DTYPES.get(tensor.type, "")
            if int(np.prod(tensor.shape)) > flatbuffer.MAX_SMALL_CONSTANT and (storage in NUMPY or storage == "int4"):
                seen.add(name)
                values = decoded(tensor, bytes(bytearray(data)), storage)
                yield Saved(name, values.reshape(spread.get(full, values.shape)), storage)


def decoded(tensor: Any, data: bytes, storage: str) -> Array:
    """(integers - zero point) * scale, one scale a tensor or one an index of the quantized dimension."""
    shape = [int(size) for size in tensor.shape]
    if storage == "int4":
        packed = np.frombuffer(data, np.uint8)
        halves = np.stack([packed & 15, packed >> 4], axis=1).ravel()[: int(np.prod(shape))].astype(np.int8)
        value: Array = np.where(halves > 7, halves - 16, halves)
    else:
        value = np.frombuffer(data, NUMPY[storage])
    if value.size != int(np.prod(shape)):
        raise StageError(STAGE, f"{flatbuffer.text(tensor.name)!r} holds {value.size} values for the shape {shape}")
    value = value.reshape(shape)
    coding = tensor.quantization
    if coding is None or coding.scale is None or not len(coding.scale):
        return value
    along = [1] * len(shape)
    if len(coding.scale) > 1:
        along[int(coding.quantizedDimension)] = -1
    scale = np.asarray(coding.scale, np.float32).reshape(along)
    zero = np.asarray(coding.zeroPoint, np.float32).reshape(along)
    made: Array = (value.astype(np.float32) - zero) * scale
    return made


def originals(program: Program, converted: bytes, recipe: Recipe) -> dict[str, Wanted]:
    """The float weights of every module, and how `recipe` stores each: those that an operator with weights reads."""
    model = flatbuffer.parse(converted)
    held = set(lead_and_tail(program, model)) if recipe.activation_bits else set()
    least = 0 if recipe.activation_bits or recipe.scheme == "float" else program.least_quantized()
    named = layer_finder(program, recipe, "litert") if recipe.base else None
    wider = replace(recipe, weight_bits=max(recipe.weight_bits, DEPTHWISE_BITS))
    found: dict[str, Wanted] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            if flatbuffer.opcode(model, operator) not in WEIGHTED:
                continue
            tensor = graph.tensors[int(operator.inputs[1])]
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or len(tensor.shape) < 2 or DTYPES[tensor.type] != "float32":
                continue
            value = decoded(tensor, bytes(bytearray(data)), "float32")
            float_layer = any(flatbuffer.text(graph.tensors[int(made)].name) in held for made in operator.outputs)
            if value.size > flatbuffer.MAX_SMALL_CONSTANT:
                if named is not None:
                    found[flatbuffer.text(tensor.name)] = wanted_layer(value, named(value), "float32")
                    continue
                stays = float_layer or value.size < least
                own = wider if flatbuffer.opcode(model, operator) == "DEPTHWISE_CONV_2D" else recipe
                found[flatbuffer.text(tensor.name)] = kept(value, "float32") if stays else wanted(value, own)
    return found
