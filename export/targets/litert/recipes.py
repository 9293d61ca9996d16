"""Recipes on the float32 flatbuffer, by ai-edge-quantizer. Inputs and outputs stay float32."""

from __future__ import annotations

from typing import Any

from models.errors import StageError
from models.recipes import Recipe

SUPPORTED = ("float32", "float16", "w8")


def apply_recipe(data: bytes, recipe: Recipe) -> bytes:
    """The .tflite `data` with its weights in the recipe's type, dequantized explicitly before use.

    XNNPACK takes the DEQUANTIZE operators in and unpacks the weights once, when it loads the model.
    """
    if recipe.name == "float32":
        return data
    from ai_edge_quantizer import quantizer

    try:
        made = quantizer.Quantizer(data, rules(recipe)).quantize()
    except Exception as error:  # a library of many layers: whatever it raises means this recipe does not apply
        raise StageError("quantize", f"recipe {recipe.name}: {type(error).__name__}: {error}") from error
    return bytes(made.quantized_model)


def rules(recipe: Recipe) -> list[dict[str, Any]]:
    if recipe.name == "w8":
        from ai_edge_quantizer import recipe as ready

        return list(ready.weight_only_wi8_afp32())
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    config = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config}]
