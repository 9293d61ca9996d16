"""Static int8, second half: int8 weights in a package that has quantize/dequantize pairs (static.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.targets.coreml.convert import SingleFunctionPackage
from export.targets.coreml.package import body, read_model
from export.targets.coreml.vendor import load_compression, load_coremltools

# The MIL operators that ATen operators with weights become.
WEIGHTED = ("conv", "conv_transpose", "linear")


def quantize_static_weights(plain: SingleFunctionPackage, package: Path) -> SingleFunctionPackage:
    """Store the weights of operators with a dequantized input as symmetric int8 with a scale per output channel."""
    ct, compression = load_coremltools(), load_compression()
    config = compression.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=0
    )
    names = dict.fromkeys(integer_weights(plain.package), config)
    model = ct.models.MLModel(str(plain.package), skip_model_load=True)
    # A channel that is zero in float16 has the scale 0: its weights are 0 / 0, and written as 0.
    with np.errstate(invalid="ignore"):
        quantized = compression.linear_quantize_weights(
            model, compression.OptimizationConfig(global_config=None, op_name_configs=names)
        )
    quantized.save(str(package))
    return SingleFunctionPackage(package, plain.ios, plain.note)


def integer_weights(package: Path) -> list[str]:
    """Return the names of the constants that only operators with a dequantized input read, as their weight."""
    (function,) = read_model(package).mlProgram.functions.values()
    operations = body(function).operations
    producers = {row.name: op for op in operations for row in op.outputs}

    def argument(op: Any, key: str) -> str:
        return str(op.inputs[key].arguments[0].name) if key in op.inputs and op.inputs[key].arguments else ""

    # Constant -> whether each of its readers reads it as the weight of an integer operator.
    readers: dict[str, list[bool]] = {}
    for op in operations:
        weight = argument(op, "weight") if op.type in WEIGHTED else ""
        integer = argument(op, "x") in producers and producers[argument(op, "x")].type == "dequantize"
        for key in op.inputs:
            if name := argument(op, key):
                readers.setdefault(name, []).append(name == weight and key == "weight" and integer)
    return [name for name, integers in readers.items() if all(integers) and producers.get(name) is not None]
