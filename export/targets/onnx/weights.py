"""Weight-only int8: large weights behind DequantizeLinear, activations in float."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

# Operators whose second input is a weight, with the axis of its output channels.
WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": -1}


def compressible(model: onnx.ModelProto, least: int) -> dict[str, onnx.TensorProto]:
    """Return the float32 weights of `least` elements or more that exactly one operator reads, by name."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    read = [node.input[1] for node in graph.node if node.op_type in WEIGHT_AXIS and len(node.input) > 1]
    weights = {name: stored[name] for name in read if name in stored and readers[name] == 1}
    return {
        name: tensor
        for name, tensor in weights.items()
        if tensor.data_type == 1 and len(tensor.dims) >= 2 and prod(tensor.dims) >= least
    }


def quantize_weights(model: onnx.ModelProto, least: int) -> None:
    """Store weights of `least` elements or more as symmetric int8 with a float32 scale per output channel, in place."""
    from onnx import helper, numpy_helper

    graph = model.graph
    chosen = compressible(model, least)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        name = node.input[1] if node.op_type in WEIGHT_AXIS and len(node.input) > 1 else ""
        if name in chosen:
            value = numpy_helper.to_array(chosen[name])
            axis = weight_axis(node, value.ndim)
            codes, scale = quantize(value, axis)
            graph.initializer.remove(chosen[name])
            graph.initializer.append(numpy_helper.from_array(codes, f"{name}.int8"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            inputs = [f"{name}.int8", f"{name}.scale"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], f"{name}.dq", axis=axis))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def weight_axis(node: onnx.NodeProto, rank: int) -> int:
    """Return the axis of the output channels of a node's weight, which has `rank` axes."""
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    if node.op_type == "Gemm":
        return 0 if transposed else 1
    return WEIGHT_AXIS[node.op_type] % rank


def quantize(value: NDArray[Any], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return symmetric int8 codes in [-127, 127] and one scale per index of `axis`; 1 for a channel of zeros."""
    others = tuple(dim for dim in range(value.ndim) if dim != axis)
    peak = np.abs(value).max(axis=others)
    scale = np.where(peak > 0, peak / 127.0, 1.0).astype(np.float32)
    shape = [1] * value.ndim
    shape[axis] = -1
    codes = np.clip(np.round(value / scale.reshape(shape)), -127, 127).astype(np.int8)
    return codes, scale
