"""Weight recipes on the float32 flatbuffer, by ai-edge-quantizer. Inputs and outputs stay float32."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from export.quantize.half_range import holds
from export.targets.litert import flatbuffer
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

# LiteRT has no depthwise kernels of fewer bits. Asked for them, the quantizer leaves these weights in float32.
DEPTHWISE_BITS = 8
FLOAT32 = 0
SUPPORTED = ("float32", "float16", "w8", "w4", "d8", "w8a8", "w8a16")


def apply_recipe(data: bytes, recipe: Recipe, least: int) -> bytes:
    """Return the float32 .tflite `data` with its weights in the storage type of `recipe`.

    Integer recipes leave weights of fewer than `least` elements in float32. Where activations stay float, DEQUANTIZE
    operators precede the weights' readers; XNNPACK absorbs them and unpacks the weights once, when it loads the model.
    Where activations are quantized at run time (d8), the operators read the integer weights directly.
    """
    if recipe.name == "float32":
        return data
    from ai_edge_quantizer import quantizer

    try:
        kept = unheld_outputs(data) if recipe.scheme == "float" else []
        quantized = quantizer.Quantizer(data, rules(recipe, least) + float_rules(kept)).quantize()
    except Exception as error:  # the library may raise any type; each means that this recipe does not apply
        raise StageError("quantize", f"recipe {recipe.name}: {type(error).__name__}: {error}") from error
    return bytes(quantized.quantized_model)


def unheld_outputs(data: bytes) -> list[str]:
    """Return the outputs of the operators with a weight that float16 does not hold: weights of 1e5, of 1e-8."""
    model = flatbuffer.parse(data)
    names: dict[str, None] = {}
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            content = model.buffers[tensor.buffer].data
            if tensor.type != FLOAT32 or content is None or not len(content):
                continue
            if not holds(np.frombuffer(bytes(bytearray(content)), np.float32)):
                names |= dict.fromkeys(outputs_of_readers(graph, index))
    return list(names)


def float_rules(outputs: list[str]) -> list[dict[str, Any]]:
    """Return the quantizer's rules that leave the operators that compute `outputs` as they are.

    An operator's scope is the names of its outputs, each followed by ";".
    """
    rule = {"operation": "*", "algorithm_key": "no_quantize", "op_config": {}}
    return [{"regex": f"(^|;){re.escape(name)}(;|$)", **rule} for name in outputs]


def outputs_of_readers(graph: Any, index: int) -> list[str]:
    """Return the outputs of the operators that read the tensor `index`, by name."""
    return [
        flatbuffer.text(graph.tensors[int(number)].name)
        for operator in graph.operators
        if index in map(int, operator.inputs)
        for number in operator.outputs
    ]


def rules(recipe: Recipe, least: int) -> list[dict[str, Any]]:
    """Return the quantizer's rules for a weight recipe."""
    if recipe.scheme == "int":
        weights = {"num_bits": recipe.weight_bits, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
        config = {
            "weight_tensor_config": weights,
            "compute_precision": "INTEGER" if recipe.dynamic else "FLOAT",
            "explicit_dequantize": not recipe.dynamic,
            "min_weight_elements": least,
        }
        every = {"regex": ".*", "algorithm_key": "min_max_uniform_quantize"}
        result = [{**every, "operation": "*", "op_config": config}]
        if recipe.weight_bits < DEPTHWISE_BITS:
            wider = {**config, "weight_tensor_config": {**weights, "num_bits": DEPTHWISE_BITS}}
            result.append({**every, "operation": "DEPTHWISE_CONV_2D", "op_config": wider})
        return result
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    config = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config}]
