"""Symptom: "Given groups=3, weight of size [3, 3, 3, 1], expected input[1, 3, 10, 10] to have 9 channels" for a
depthwise convolution whose kernel is computed at run time and repeated for every channel (a predicted blur).
Cause: litert-torch's pass over layouts takes four axes of a kernel that is expanded for those of a map.
Instead: such kernels come by way of two axes, which the pass leaves alone.
Retired by: a litert-torch that follows kernels (seen in 0.10.0; tests/export/test_uncommon.py has the net).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.dataflow import computed_from

if TYPE_CHECKING:
    from torch import fx


def decompose_computed_kernels(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Put a view before such kernels, in place; whether there was one."""
    import torch

    aten = torch.ops.aten
    convolutions = {aten.conv1d.default, aten.conv2d.default, aten.conv_transpose2d.input}
    computed = computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)
    found = [node for node in graph.graph.nodes if node.target in convolutions and node.args[1] in computed]
    for node in found:
        kernel = node.args[1]
        shape = [int(size) for size in kernel.meta["val"].shape]
        with graph.graph.inserting_before(node):
            flat = graph.graph.call_function(aten.reshape.default, (kernel, [shape[0], -1]))
            whole = graph.graph.call_function(aten.reshape.default, (flat, shape))
        whole.meta = {**kernel.meta}
        node.update_arg(1, whole)
    return PassResult(graph, bool(found))
