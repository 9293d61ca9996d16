"""Replace `aten.view` by `aten.reshape`.

Before: view(x, shape)
After:  reshape(x, shape)

Symptom: "view size is not compatible with input tensor's size and stride" while litert-torch runs the graph on
channels-last feature maps.
Cause: `run_decompositions` turns `aten.reshape` into `aten.view` for the contiguous maps that it traces with.
Retired by: a litert-torch that keeps maps contiguous, or reshapes (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult

if TYPE_CHECKING:
    from torch import fx


def replace_view(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Replace `aten.view` and `aten._unsafe_view` by `aten.reshape`."""
    import torch

    aten, modified = torch.ops.aten, False
    for node in graph.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
            modified = True
    return PassResult(graph, modified)
