"""Store each weight of the float32 flatbuffer in its layer's own type, by ai-edge-quantizer, for named recipes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.layers import Layer, in_stored_layout
from export.quantize.per_channel import calibrates_per_channel, decode_per_channel
from export.quantize.plan import LayerMatcher
from export.targets.litert import flatbuffer
from export.targets.litert.recipes import DEPTHWISE_BITS, FLOAT32, outputs_of_readers
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe, recipe

Array = NDArray[Any]
# The recipes that a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8", "w4")
BITS = (4, 8)
# Bytes of a float32 scale and a 64-bit zero point, per channel.
CHANNEL = 12


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    """Return why a LiteRT file cannot store the layer under `recipe`, or None."""
    plain = not (recipe.block or recipe.sparsity)
    if recipe.scheme == "int" and recipe.weight_bits < DEPTHWISE_BITS and is_depthwise(layer):
        return "LiteRT has depthwise kernels of float32, float16, or integers of 8 bits (w8)"
    if recipe.scheme == "float" or (recipe.scheme == "int" and recipe.weight_bits in BITS and plain):
        return None
    return "a LiteRT layer is float32, float16, or integers of 8 or 4 bits with a scale per channel (w8, w4)"


def is_depthwise(layer: Layer) -> bool:
    """Return whether LiteRT runs the layer as a depthwise convolution: not a kernel for a one-channel photo."""
    return layer.depthwise and layer.groups > 1


calibrates = calibrates_per_channel
decode_layer = decode_per_channel


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    """Return the bytes of the layer in a file."""
    return layer.value.size * recipe.weight_bits / 8 + (CHANNEL * layer.outputs if recipe.scheme == "int" else 0)


def store_layers(data: bytes, matcher: LayerMatcher) -> bytes:
    """Return the float32 .tflite `data` with the weight of every layer stored as the matcher's plan says."""
    from ai_edge_quantizer import quantizer

    model = flatbuffer.parse(data)
    outputs: dict[str, list[str]] = {}
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            content = model.buffers[tensor.buffer].data
            if tensor.type != FLOAT32 or content is None or len(tensor.shape) < 2:
                continue
            value = np.frombuffer(bytes(bytearray(content)), np.float32).reshape(tensor.shape)
            row = matcher.match(value)
            if row is None or row.recipe.weight_bits == 32:
                continue
            if row.decoded is not None:
                rounded = in_stored_layout(row.layer, row.decoded, value)
                model.buffers[tensor.buffer].data = np.frombuffer(rounded.tobytes(), np.uint8)
            outputs.setdefault(row.recipe.name, []).extend(outputs_of_readers(graph, index))
    rules = [rule(recipe(name), names) for name, names in outputs.items()]
    if not rules:
        return data
    try:
        quantized = quantizer.Quantizer(flatbuffer.serialize(model), rules).quantize()
    except Exception as error:  # the library may raise any type; each means that this recipe does not apply
        raise StageError("quantize", f"recipe {matcher.plan.name}: {type(error).__name__}: {error}") from error
    return bytes(quantized.quantized_model)


def rule(recipe: Recipe, outputs: list[str]) -> dict[str, Any]:
    """Return the quantizer's rule for the operators that compute `outputs`.

    An operator's scope is the names of its outputs, each followed by ";".
    """
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
