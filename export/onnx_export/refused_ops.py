"""Decompose the ops that PyTorch's ONNX exporter refuses or gets wrong.

The pipelines of both targets that start from the exporter's graph contain these decompositions:
export/targets/onnx/pipeline.py and export/targets/tfjs/pipeline.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose import attention, elementwise, pooling, scatter
from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram


def mixed_clamp_bounds(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.clamp` with an int and a float bound, which the exporter refuses.

    Before: `clamp(x, 0, 1.5)`. After: `clamp(x, 0.0, 1.5)`.
    The table is empty where no clamp has mixed bounds, because the exporter writes fewer nodes for two ints.
    """
    mixed = any(has_mixed_bounds(node) for node in program.graph_module.graph.nodes)
    return elementwise.float_clamp_bounds(program) if mixed else {}


def has_mixed_bounds(node: fx.Node) -> bool:
    """Return whether the node is an `aten.clamp` whose two bounds have different types."""
    import torch

    types = {type(bound) for bound in node.args[1:] if bound is not None}
    return node.target is torch.ops.aten.clamp.default and len(types) > 1


# Ops that the exporter refuses or gets wrong at any input size:
#   refused           hypot, adaptive max pools, clamps with an int and a float bound, attention of other ranks than 4
#   silently dropped  `divisor_override` of an average pool
#   inefficient       in-place writes into slices become ScatterND; masked writes become a ScatterND whose number of
#                     updates is known only at run time
REFUSED_OPS = (
    elementwise.arithmetic,
    scatter.slice_writes,
    pooling.avg_pool_divisor,
    pooling.adaptive_max_pool,
    attention.attention,
    mixed_clamp_bounds,
)
