"""Symptom: `interpolate(mode="nearest")` at a ratio that is no whole number (3 -> 7) comes out sampled at the centres
of the pixels, as nearest-exact does: silently wrong values.
Cause: litert-torch lowers aten.upsample_nearest2d to RESIZE_NEAREST_NEIGHBOR with half-pixel centres, which agrees
with PyTorch's floor(i * in / out) only where out is a multiple of in.
Retired by: a litert-torch that lowers it with half_pixel_centers = false, or refuses it (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from export.passes.base import PassResult

if TYPE_CHECKING:
    import torch
    from torch import fx


def decompose_nearest_resize(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Rewrite such resizes as gathers of rows and columns, in place; whether there was one."""
    import torch

    aten = torch.ops.aten
    kinds = {getattr(aten.upsample_nearest2d, name) for name in ("vec", "default")}
    found = [node for node in graph.graph.nodes if node.op == "call_function" and node.target in kinds]
    changed = False
    for node in found:
        source = node.args[0]
        height, width = (int(side) for side in source.meta["val"].shape[2:])
        high, wide = (int(side) for side in node.meta["val"].shape[2:])
        if high % height == 0 and wide % width == 0:
            continue
        with graph.graph.inserting_before(node):
            value = source
            for axis, before, after in ((2, height, high), (3, width, wide)):
                if before != after:
                    value = gather(graph, value, axis, rows(node, axis, before, after))
        node.replace_all_uses_with(value)
        graph.graph.erase_node(node)
        changed = True
    return PassResult(graph, changed)


def rows(node: fx.Node, axis: int, before: int, after: int) -> torch.Tensor:
    """The source index of every output row or column, by PyTorch itself, so that its rounding is kept."""
    import torch

    ramp = torch.arange(before, dtype=torch.float32).reshape(1, 1, before, 1)
    scales = node.args[2] if len(node.args) > 2 and isinstance(node.args[2], list | tuple) else None
    if scales is not None:
        scale = float(scales[axis - 2])  # type: ignore[arg-type]  # scales of an FX node are numbers
        made = torch.ops.aten.upsample_nearest2d.vec(ramp, None, [scale, 1.0])
    else:
        made = torch.ops.aten.upsample_nearest2d.vec(ramp, [after, 1], None)
    return torch.from_numpy(np.ascontiguousarray(made.reshape(-1).numpy().astype(np.int64)))


def gather(graph: fx.GraphModule, value: fx.Node, axis: int, index: torch.Tensor) -> fx.Node:
    import torch

    name = f"nearest_index_{sum(1 for key in dict(graph.named_buffers()) if key.startswith('nearest_index_'))}"
    graph.register_buffer(name, index, persistent=False)
    return graph.graph.call_function(torch.ops.aten.index_select.default, (value, axis, graph.graph.get_attr(name)))
