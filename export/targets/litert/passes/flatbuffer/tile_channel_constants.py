"""Tile constants of a few channels along the width, such as the mean and the standard deviation of a photo's colours.

Before: ADD(x [1, h, w, c], constant [1, 1, 1, c])
After:  ADD(x [1, h, w, c], constant [1, 1, w, c])

Symptom: the subtraction of three means and the multiplication by three factors take longer than the first convolution.
Cause: XNNPACK's broadcasting calls its kernel on the innermost axes that both operands share: one call per pixel for
three channels, one call per row for a tiled constant. The arithmetic is the same. The GPU delegate takes such constants
too: its elementwise kernels of two inputs read them by index.
Retired by: an XNNPACK that tiles such operands itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.passes.base import PassResult
from export.targets.litert import flatbuffer
from export.targets.litert.edit import FLOAT32, add_constant, has_data, shape_of

BINARY = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM")
# From this many channels on, a call per pixel is worth its price.
MAX_CHANNELS = 16
# The most elements of a tiled constant: 8 KB.
MAX_ELEMENTS = 2048


def tile_channel_constants(model: Any) -> PassResult[Any]:
    """Tile the float32 constants of 2 to 15 channels that are an operand of an elementwise operator of rank 4."""
    modified = False
    for graph in model.subgraphs:
        for operator in graph.operators:
            if flatbuffer.opcode(model, operator) not in BINARY:
                continue
            first, second = (int(index) for index in operator.inputs)
            for position, constant, other in ((0, first, second), (1, second, first)):
                shape = shape_of(graph, other)
                if is_tileable(model, graph, constant, shape):
                    inputs = np.array([first, second], np.int32)
                    inputs[position] = tiled(model, graph, constant, shape[2])
                    operator.inputs = inputs
                    modified = True
    return PassResult(model, modified)


def is_tileable(model: Any, graph: Any, constant: int, shape: list[int]) -> bool:
    """Return whether tensor `constant` holds a few channels of an operand of `shape` [n, h, w, c], and one row fits."""
    tensor = graph.tensors[constant]
    if len(shape) != 4 or tensor.type != FLOAT32 or not has_data(model, graph, constant):
        return False
    width, channels = shape[2], shape[3]
    per_channel = shape_of(graph, constant) in ([1, 1, 1, channels], [channels])
    return per_channel and 1 < channels < MAX_CHANNELS and width * channels <= MAX_ELEMENTS


def tiled(model: Any, graph: Any, constant: int, width: int) -> int:
    """Return the index of a tensor with `width` copies of the constant. The original stays for its other users."""
    data = bytes(bytearray(model.buffers[graph.tensors[constant].buffer].data))
    value = np.frombuffer(data, np.float32).reshape(1, 1, 1, -1)
    name = f"{flatbuffer.text(graph.tensors[constant].name)}/row"
    known = {flatbuffer.text(tensor.name): index for index, tensor in enumerate(graph.tensors)}
    if name in known and shape_of(graph, known[name])[2] == width:
        return known[name]
    return add_constant(model, graph, name, np.repeat(value, width, axis=2))
