"""Find the nodes of an ONNX graph that half precision cannot compute (export/quantize/half_range.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.quantize.half_range import Extremes, Step, Wide, find_wide
from export.quantize.probes import probe_tensors
from export.targets.onnx.observe import each_tensor
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

    from export.program import Program

# The inputs whose small elements count.
DIVISORS = {"Div": (1,), "Log": (0,), "Reciprocal": (0,)}
SQUARES = (
    "LayerNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "RMSNormalization",
    "LpNormalization",
    "SimplifiedLayerNormalization",
)
MOVES = (
    *("Add", "Sub", "Max", "Min", "Clip", "Sqrt", "Abs", "Identity", "Cast", "Where"),
    *("Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze", "Slice", "Gather", "Concat", "Flatten", "Tile"),
)


def wide_nodes(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> Wide:
    """Return the nodes of the float32 `model` that compute in float32 under float16. Every node has a name."""
    feeds = [{name: tensors[name].numpy() for name in entry.inputs} for tensors in probe_tensors(program)]
    extremes: dict[str, Extremes] = {}
    for name, value in each_tensor(model, feeds):
        extremes.setdefault(name, Extremes()).add(value)
    return find_wide(steps_of(model, set(extremes)), extremes)


def steps_of(model: onnx.ModelProto, floats: set[str]) -> list[Step]:
    """Return the nodes as steps; `floats` are the tensors that hold floats."""
    from onnx import numpy_helper

    fixed: dict[str, NDArray[Any]] = {}
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32:
            fixed[tensor.name] = value
    return [
        Step(
            node.name,
            tuple(name for name in node.input if name in floats),
            tuple(name for name in node.output if name in floats),
            tuple(fixed[name] for name in node.input if name in fixed),
            tuple(node.input[index] for index in DIVISORS.get(node.op_type, ()) if node.input[index] in floats),
            node.op_type in SQUARES,
            node.op_type in MOVES,
        )
        for node in model.graph.node
    ]
