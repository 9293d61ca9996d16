"""Named recipes: each weight stored as its layer is to be, behind DequantizeLinear or Cast; it computes in float32."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.layers import Layer, Plan, calibrated_by_channel, decoded_by_channel, laid_like
from export.targets.onnx.weights import WEIGHT_AXIS, weight_axis
from hydramobile.recipes import Recipe

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# What a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8", "w4")
BITS = (4, 8)
# The first opset whose DequantizeLinear takes 4-bit integers, and the IR that can hold them.
OPSET_OF_INT4, IR_OF_INT4 = 21, 10


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    plain = not (recipe.block or getattr(recipe, "sparsity", 0))
    if recipe.scheme == "float" or (recipe.scheme == "int" and recipe.weight_bits in BITS and plain):
        return None
    return "an ONNX layer is float32, float16, or integers of 8 or 4 bits with a scale a channel (w8, w4)"


calibrates = calibrated_by_channel
decoded = decoded_by_channel


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    return layer.value.size * recipe.weight_bits / 8 + (4 * layer.outputs if recipe.scheme == "int" else 0)


def store_layers(model: onnx.ModelProto, plan: Plan) -> None:
    """Store every weight that is a layer's as `plan` says; in place. 4-bit weights raise the file's opset."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    readers = Counter(name for node in graph.node for name in node.input)
    nodes: list[onnx.NodeProto] = []
    narrow = False
    for node in graph.node:
        weight = stored.get(node.input[1]) if node.op_type in WEIGHT_AXIS and len(node.input) > 1 else None
        value = numpy_helper.to_array(weight) if weight is not None else None
        if weight is None or value is None or value.ndim < 2 or readers[weight.name] != 1:
            nodes.append(node)
            continue
        row, name = plan.find(value), weight.name
        if row is not None and row.recipe.weight_bits < 32:
            graph.initializer.remove(weight)
            if row.recipe.scheme == "float":
                kept = np.clip(value, -65504, 65504).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(kept, f"{name}.half"))
                nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT))
            else:
                bits, axis = row.recipe.weight_bits, weight_axis(node, value.ndim)
                exact = value if row.decoded is None else laid_like(row.layer, row.decoded, value)
                integers, scale = integers_of(exact, axis, bits)
                narrow = narrow or bits == 4
                graph.initializer.append(numpy_helper.from_array(integers, f"{name}.int{bits}"))
                graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
                nodes.append(
                    helper.make_node(
                        "DequantizeLinear", [f"{name}.int{bits}", f"{name}.scale"], [name], f"{name}.dq", axis=axis
                    )
                )
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    if narrow:
        model.ir_version = max(model.ir_version, IR_OF_INT4)
        for item in model.opset_import:
            if item.domain in ("", "ai.onnx"):
                item.version = max(item.version, OPSET_OF_INT4)


def integers_of(value: Array, axis: int, bits: int) -> tuple[Array, NDArray[np.float32]]:
    """Symmetric integers with one scale per index of `axis`; values that lie on such a grid come back exactly."""
    from onnx import TensorProto, helper

    top = 2 ** (bits - 1) - 1
    peak = np.abs(value).max(axis=tuple(dim for dim in range(value.ndim) if dim != axis))
    scale = np.where(peak > 0, peak / np.float32(top), 1.0).astype(np.float32)
    shape = [1] * value.ndim
    shape[axis] = -1
    codes = np.clip(np.round(value / scale.reshape(shape)), -top, top)
    return codes.astype(helper.tensor_dtype_to_np_dtype(TensorProto.INT8 if bits == 8 else TensorProto.INT4)), scale
