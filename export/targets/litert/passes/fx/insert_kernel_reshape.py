"""Reshape convolution kernels that are computed at run time to rank 2 and back.

Before: conv2d(x, kernel)
After:  conv2d(x, reshape(reshape(kernel, [O, -1]), [O, I, H, W]))

Symptom: "Given groups=3, weight of size [3, 3, 3, 1], expected input[1, 3, 10, 10] to have 9 channels" for a depthwise
convolution whose kernel is computed at run time and expanded to every channel (a predicted blur).
Cause: litert-torch's layout pass treats the expanded kernel of rank 4 as a feature map and permutes its axes to
channels-last. The pass leaves tensors of rank 2 alone.
Retired by: a litert-torch whose layout pass follows kernels (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.dataflow import computed_from

if TYPE_CHECKING:
    from torch import fx


def insert_kernel_reshape(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Reshape every kernel of `aten.conv1d`, `conv2d` and `conv_transpose2d` that depends on an input."""
    import torch

    aten = torch.ops.aten
    convolutions = {aten.conv1d.default, aten.conv2d.default, aten.conv_transpose2d.input}
    computed = computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)
    nodes = [node for node in graph.graph.nodes if node.target in convolutions and node.args[1] in computed]
    for node in nodes:
        kernel = node.args[1]
        shape = [int(size) for size in kernel.meta["val"].shape]
        with graph.graph.inserting_before(node):
            matrix = graph.graph.call_function(aten.reshape.default, (kernel, [shape[0], -1]))
            restored = graph.graph.call_function(aten.reshape.default, (matrix, shape))
        restored.meta = {**kernel.meta}
        node.update_arg(1, restored)
    return PassResult(graph, bool(nodes))
