"""Run a float32 ONNX graph and show all its float tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx


def each_tensor(
    model: onnx.ModelProto, feeds: Iterable[Mapping[str, NDArray[Any]]]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and the value of every float tensor of the graph, for one feed after the other.

    ONNX Runtime runs the graph with one thread and nothing fused.
    """
    import onnx
    import onnxruntime

    floats = {
        value.name: value
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    names = [name for node in model.graph.node for name in node.output if name in floats]
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    del opened.graph.output[:]
    opened.graph.output.extend(floats[name] for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for feed in feeds:
        for name, value in {**feed, **dict(zip(names, session.run(names, dict(feed)), strict=True))}.items():
            if np.issubdtype(value.dtype, np.floating):
                yield name, value
