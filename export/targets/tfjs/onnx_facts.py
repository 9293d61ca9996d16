"""Read shapes, dtypes and numbers of users from an ONNX graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.targets.tfjs.graph import Shape

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """Map each tensor to its static shape, NumPy dtype name and number of users. A graph output counts as a user.

    Tensors with a symbolic or unknown shape have no entry in `shapes`; an unknown dtype is "".
    """

    shapes: dict[str, Shape]
    dtypes: dict[str, str]
    use_counts: Counter[str]


def read_facts(model: onnx.ModelProto) -> OnnxFacts:
    from onnx import helper

    shapes: dict[str, Shape] = {}
    dtypes: dict[str, str] = {}
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        tensor = info.type.tensor_type
        dtypes[info.name] = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else ""
        if all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[info.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    use_counts = Counter(name for node in model.graph.node for name in node.input)
    use_counts.update(output.name for output in model.graph.output)
    return OnnxFacts(shapes, dtypes, use_counts)
