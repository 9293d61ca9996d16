"""Read the facts that `inspect` shows from an ONNX file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydramobile.errors import StageError

if TYPE_CHECKING:
    import onnx


def describe_model(path: Path) -> dict[str, Any]:
    """Return format, metadata, entries, weight bytes per dtype and node counts of an ONNX file.

    Raises StageError("inspect") where the file does not parse or does not pass ONNX's checker.
    """
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise types of their own
        raise StageError("inspect", f"{path} is not a valid ONNX file: {error}") from error
    return {
        "format": f"ONNX opset {opset_of(model)}, IR {model.ir_version}",
        "metadata": {item.key: item.value for item in model.metadata_props},
        "entries": [
            {
                "inputs": [tensor_facts(value) for value in model.graph.input],
                "outputs": [tensor_facts(value) for value in model.graph.output],
            }
        ],
        "weight_bytes": weight_bytes(model),
        "ops": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
    }


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own opset; a model may import opsets of other domains beside it."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def weight_bytes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the bytes of all initializers per NumPy dtype."""
    from onnx import numpy_helper

    total: Counter[str] = Counter()
    for initializer in model.graph.initializer:
        value = numpy_helper.to_array(initializer)
        total[str(value.dtype)] += value.nbytes
    return dict(sorted(total.items()))


def tensor_facts(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Return name, shape, dtype and description of a graph input or output. A symbolic dimension is its name."""
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return {"name": value.name, "shape": shape, "dtype": str(dtype), "description": value.doc_string}
