"""Store each weight in its layer's own type, behind DequantizeLinear or Cast, for named recipes. Compute in float32."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.layers import Layer, in_stored_layout
from export.quantize.per_channel import calibrates_per_channel, decode_per_channel
from export.quantize.plan import Assigned, LayerMatcher
from export.targets.onnx.weights import WEIGHT_AXIS, weight_axis
from hydramobile.recipes import Recipe

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]
# The recipes that a search tries, the most exact first.
OPTIONS: tuple[str, ...] = ("float16", "w8", "w4")
BITS = (4, 8)
# The first opset whose DequantizeLinear takes 4-bit integers, and the IR that can hold them.
OPSET_OF_INT4, IR_OF_INT4 = 21, 10


def layer_refuses(layer: Layer, recipe: Recipe) -> str | None:
    """Return why an ONNX file cannot store the layer under `recipe`, or None."""
    plain = not (recipe.block or recipe.sparsity)
    if recipe.scheme == "float" or (recipe.scheme == "int" and recipe.weight_bits in BITS and plain):
        return None
    return "an ONNX layer is float32, float16, or integers of 8 or 4 bits with a scale per channel (w8, w4)"


calibrates = calibrates_per_channel
decode_layer = decode_per_channel


def layer_bytes(layer: Layer, recipe: Recipe) -> float:
    """Return the bytes of the layer in a file."""
    return layer.value.size * recipe.weight_bits / 8 + (4 * layer.outputs if recipe.scheme == "int" else 0)


def store_layers(model: onnx.ModelProto, matcher: LayerMatcher) -> None:
    """Store the weight of every layer as the matcher's plan says, in place. 4-bit weights raise the file's opset."""
    from onnx import TensorProto, numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    readers = Counter(name for node in graph.node for name in node.input)
    nodes: list[onnx.NodeProto] = []
    bits: set[int] = set()
    for node in graph.node:
        weight = stored.get(node.input[1]) if node.op_type in WEIGHT_AXIS and len(node.input) > 1 else None
        value = numpy_helper.to_array(weight) if weight is not None else None
        if weight is not None and value is not None and value.ndim >= 2 and readers[weight.name] == 1:
            row = matcher.match(value)
            if row is not None and row.recipe.weight_bits < 32:
                bits.add(row.recipe.weight_bits)
                graph.initializer.remove(weight)
                decoder, constants = stored_weight(row, weight.name, value, weight_axis(node, value.ndim))
                graph.initializer.extend(constants)
                nodes.append(decoder)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    if 4 in bits:
        raise_opset(model)


def stored_weight(row: Assigned, name: str, value: Array, axis: int) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """Return the node that produces the weight `name` at run time, and the constants that it reads."""
    from onnx import TensorProto, helper, numpy_helper

    if row.recipe.scheme == "float":
        half = np.clip(value, -65504, 65504).astype(np.float16)
        cast = helper.make_node("Cast", [f"{name}.half"], [name], f"{name}.cast", to=TensorProto.FLOAT)
        return cast, [numpy_helper.from_array(half, f"{name}.half")]
    bits = row.recipe.weight_bits
    rounded = value if row.decoded is None else in_stored_layout(row.layer, row.decoded, value)
    codes, scale = quantize(rounded, axis, bits)
    names = [f"{name}.int{bits}", f"{name}.scale"]
    constants = [numpy_helper.from_array(codes, names[0]), numpy_helper.from_array(scale, names[1])]
    return helper.make_node("DequantizeLinear", names, [name], f"{name}.dq", axis=axis), constants


def raise_opset(model: onnx.ModelProto) -> None:
    """Raise the file's IR and opset to the first that hold 4-bit integers, in place."""
    model.ir_version = max(model.ir_version, IR_OF_INT4)
    for item in model.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = max(item.version, OPSET_OF_INT4)


def quantize(value: Array, axis: int, bits: int) -> tuple[Array, NDArray[np.float32]]:
    """Return symmetric codes and one scale per index of `axis`. Elements on such a grid decode to the same value."""
    from onnx import TensorProto, helper

    top = 2 ** (bits - 1) - 1
    peak = np.abs(value).max(axis=tuple(dim for dim in range(value.ndim) if dim != axis))
    scale = np.where(peak > 0, peak / np.float32(top), 1.0).astype(np.float32)
    shape = [1] * value.ndim
    shape[axis] = -1
    codes = np.clip(np.round(value / scale.reshape(shape)), -top, top)
    return codes.astype(helper.tensor_dtype_to_np_dtype(TensorProto.INT8 if bits == 8 else TensorProto.INT4)), scale
