"""Constants of a few channels, repeated along a row: the mean and the deviation of a photo's colours.

Symptom: subtracting three means and multiplying by three factors take longer than the first convolution.
Cause: XNNPACK's broadcasting works through the axes that both operands share; three channels are a call for each pixel.
Instead: the constant holds a whole row of pixels ([1, 1, W, C]), which is a call for each row. The same arithmetic.
The GPU delegate takes such constants too: it reads them by place (its elementwise kernels of two inputs).
Retired by: an XNNPACK that repeats such operands itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from export.passes.base import PassResult
from export.targets.litert import flatbuffer
from export.targets.litert.edit import FLOAT32, add_constant, has_data, shape_of

BINARY = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM")
# With as many channels a call is worth its price.
CHANNELS = 16
# Values of the longest constant that is made: 8 KB.
LONGEST = 2048


def widen_channel_constants(model: Any) -> PassResult[Any]:
    """Repeat constants of a few channels along the width, where they are an operand of an elementwise operator.

    Before: ADD(x, [1, 1, 1, c]). After: ADD(x, [1, 1, w, c]).
    """
    modified = False
    for graph in model.subgraphs:
        for each in graph.operators:
            if flatbuffer.opcode(model, each) not in BINARY:
                continue
            first, second = (int(number) for number in each.inputs)
            for place, constant, other in ((0, first, second), (1, second, first)):
                shape = shape_of(graph, other)
                if fits(model, graph, constant, shape):
                    inputs = np.array([first, second], np.int32)
                    inputs[place] = repeated(model, graph, constant, shape[2])
                    each.inputs = inputs
                    modified = True
    return PassResult(model, modified)


def fits(model: Any, graph: Any, constant: int, shape: list[int]) -> bool:
    tensor = graph.tensors[constant]
    if len(shape) != 4 or tensor.type != FLOAT32 or not has_data(model, graph, constant):
        return False
    flat = shape_of(graph, constant)
    return flat in ([1, 1, 1, shape[3]], [shape[3]]) and 1 < shape[3] < CHANNELS and shape[2] * shape[3] <= LONGEST


def repeated(model: Any, graph: Any, constant: int, width: int) -> int:
    """The number of a tensor like `constant`, `width` times along its row: other operators may read the original."""
    data = bytes(bytearray(model.buffers[graph.tensors[constant].buffer].data))
    value = np.frombuffer(data, np.float32).reshape(1, 1, 1, -1)
    name = f"{flatbuffer.text(graph.tensors[constant].name)}/row"
    known = {flatbuffer.text(tensor.name): number for number, tensor in enumerate(graph.tensors)}
    if name in known and shape_of(graph, known[name])[2] == width:
        return known[name]
    return add_constant(model, graph, name, np.repeat(value, width, axis=2))
