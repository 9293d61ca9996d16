"""Named recipes: each weight of the float32 flatbuffer stored as its layer is to be, by ai-edge-quantizer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.layers import Layer, Plan, calibrated_by_channel, decoded_by_channel, laid_like
from export.targets.litert import flatbuffer
from export.targets.litert.recipes import DEPTHWISE_BITS
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe, recipe

Array = NDArray[Any]
# What a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8", "w4")
BITS = (4, 8)
FLOAT32 = 0
# A scale and a zero point of 64 bits a channel.
CHANNEL = 12


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    plain = not (recipe.block or getattr(recipe, "sparsity", 0))
    if recipe.scheme == "int" and recipe.weight_bits < DEPTHWISE_BITS and is_depthwise(layer):
        return "LiteRT has depthwise kernels of float32, float16, or integers of 8 bits (w8)"
    if recipe.scheme == "float" or (recipe.scheme == "int" and recipe.weight_bits in BITS and plain):
        return None
    return "a LiteRT layer is float32, float16, or integers of 8 or 4 bits with a scale a channel (w8, w4)"


def is_depthwise(layer: Layer) -> bool:
    """Whether a filter sees one channel of several: a kernel for a one-channel photo is a plain one."""
    return layer.depthwise and getattr(layer.owner, "groups", 1) > 1


calibrates = calibrated_by_channel
decoded = decoded_by_channel


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    return layer.value.size * recipe.weight_bits / 8 + (CHANNEL * layer.outputs if recipe.scheme == "int" else 0)


def store_layers(data: bytes, plan: Plan) -> bytes:
    """The .tflite `data` (float32) with every weight that is a layer's stored as `plan` says."""
    from ai_edge_quantizer import quantizer

    model = flatbuffer.parse(data)
    makers: dict[str, list[str]] = {}
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            content = model.buffers[tensor.buffer].data
            if tensor.type != FLOAT32 or content is None or len(tensor.shape) < 2:
                continue
            value = np.frombuffer(bytes(bytearray(content)), np.float32).reshape(tensor.shape)
            row = plan.find(value)
            if row is None or row.recipe.weight_bits == 32:
                continue
            if row.decoded is not None:
                made = laid_like(row.layer, row.decoded, value)
                model.buffers[tensor.buffer].data = np.frombuffer(made.tobytes(), np.uint8)
            for operator in graph.operators:
                if index in map(int, operator.inputs):
                    names = [flatbuffer.text(graph.tensors[int(number)].name) for number in operator.outputs]
                    makers.setdefault(row.recipe.name, []).extend(names)
    rules = [rule(recipe(name), outputs) for name, outputs in makers.items()]
    if not rules:
        return data
    try:
        quantized = quantizer.Quantizer(flatbuffer.serialize(model), rules).quantize()
    except Exception as error:  # a library of many layers: whatever it raises means this recipe does not apply
        raise StageError("quantize", f"recipe {plan.name}: {type(error).__name__}: {error}") from error
    return bytes(quantized.quantized_model)


def rule(recipe: Recipe, outputs: list[str]) -> dict[str, Any]:
    """One rule for the operators that make `outputs`; an operator's scope is their names, each followed by ";"."""
    scope = f"(^|;)({'|'.join(map(re.escape, outputs))})(;|$)"
    integer = recipe.scheme == "int"
    weights = {
        "num_bits": recipe.weight_bits,
        "symmetric": True,
        "granularity": "CHANNELWISE" if integer else "TENSORWISE",
        "dtype": "INT" if integer else "FLOAT",
    }
    config = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    algorithm = "min_max_uniform_quantize" if integer else "float_casting"
    return {"regex": scope, "operation": "*", "algorithm_key": algorithm, "op_config": config}
