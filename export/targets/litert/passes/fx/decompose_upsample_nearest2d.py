"""Decompose `aten.upsample_nearest2d` at a fractional ratio into `aten.index_select` of rows and columns.

Before: upsample_nearest2d(x [1, c, 3, 3], size=[7, 7])
After:  index_select(index_select(x, 2, rows), 3, columns), with rows = [0, 0, 0, 1, 1, 2, 2]

Symptom: `interpolate(mode="nearest")` at a fractional ratio (3 to 7) samples at the centres of pixels, as
mode="nearest-exact" does: wrong values without an error.
Cause: litert-torch lowers the op to RESIZE_NEAREST_NEIGHBOR with half_pixel_centers, which agrees with PyTorch's
floor(i * in / out) only where the output size is a multiple of the input size.
Retired by: a litert-torch that lowers it with half_pixel_centers = false, or refuses it (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from export.passes.base import PassResult

if TYPE_CHECKING:
    import torch
    from torch import fx

# Becomes part of tensor names in the file.
INDEX_PREFIX = "nearest_index_"


def decompose_upsample_nearest2d(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Decompose resizes where height or width is not a multiple of the input's. Axes of equal size stay as they are."""
    import torch

    aten = torch.ops.aten
    targets = {aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default}
    modified = False
    for node in [node for node in graph.graph.nodes if node.op == "call_function" and node.target in targets]:
        source = node.args[0]
        sizes = list(zip(spatial_size(source), spatial_size(node), strict=True))
        if all(out % size == 0 for size, out in sizes):
            continue
        result = source
        with graph.graph.inserting_before(node):
            for axis, (size, out) in enumerate(sizes, start=2):
                if size != out:
                    result = index_select(graph, result, axis, source_indices(node, axis, size, out))
        node.replace_all_uses_with(result)
        graph.graph.erase_node(node)
        modified = True
    return PassResult(graph, modified)


def spatial_size(node: fx.Node) -> tuple[int, int]:
    """Return (height, width) of an NCHW tensor."""
    height, width = node.meta["val"].shape[2:]
    return int(height), int(width)


def source_indices(node: fx.Node, axis: int, size: int, out: int) -> torch.Tensor:
    """Return the input index of each of the `out` output rows or columns, int64.

    PyTorch itself resizes a ramp, so that its rounding is kept.
    """
    import torch

    ramp = torch.arange(size, dtype=torch.float32).reshape(1, 1, size, 1)
    scales = node.args[2] if len(node.args) > 2 and isinstance(node.args[2], list | tuple) else None
    if scales is not None:
        scale = float(scales[axis - 2])  # type: ignore[arg-type]  # scales of an FX node are numbers
        resized = torch.ops.aten.upsample_nearest2d.vec(ramp, None, [scale, 1.0])
    else:
        resized = torch.ops.aten.upsample_nearest2d.vec(ramp, [out, 1], None)
    return torch.from_numpy(np.ascontiguousarray(resized.reshape(-1).numpy().astype(np.int64)))


def index_select(graph: fx.GraphModule, value: fx.Node, axis: int, index: torch.Tensor) -> fx.Node:
    """Add `aten.index_select` along `axis`, with `index` as a buffer."""
    import torch

    name = f"{INDEX_PREFIX}{sum(1 for key in dict(graph.named_buffers()) if key.startswith(INDEX_PREFIX))}"
    graph.register_buffer(name, index, persistent=False)
    return graph.graph.call_function(torch.ops.aten.index_select.default, (value, axis, graph.graph.get_attr(name)))
