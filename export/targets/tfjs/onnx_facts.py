"""Read shapes, dtypes and numbers of readers from an ONNX graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.targets.tfjs.graph import Shape

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ONNX graph says about its values: shape, dtype, number of readers (an output counts as one more)."""

    shapes: dict[str, Shape]
    dtypes: dict[str, str]
    uses: Counter[str]


def read_facts(model: onnx.ModelProto) -> Facts:
    from onnx import helper

    shapes: dict[str, Shape] = {}
    dtypes: dict[str, str] = {}
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        tensor = info.type.tensor_type
        dtypes[info.name] = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else ""
        if all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[info.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(output.name for output in model.graph.output)
    return Facts(shapes, dtypes, uses)
