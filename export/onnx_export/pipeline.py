"""The passes on the ATen graph before PyTorch's ONNX exporter, in order.

Two targets start from the exporter's ONNX graph. The ONNX target saves it; the TF.js target adds decompositions of its
own and lowers it op by op (export/targets/tfjs/pipeline.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose import attention, elementwise, pooling, scatter
from export.passes.decompose.table import DecomposeOps, DecompositionTable
from export.passes.pipelines import RARE_OPS

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram


def mixed_clamp_bounds(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.clamp` between an int and a float, which the exporter refuses.

    Empty where no clamp has mixed bounds: the exporter writes fewer nodes for two ints.
    """
    mixed = any(has_mixed_bounds(node) for node in program.graph_module.graph.nodes)
    return elementwise.float_clamp_bounds(program) if mixed else {}


def has_mixed_bounds(node: fx.Node) -> bool:
    import torch

    types = {type(bound) for bound in node.args[1:] if bound is not None}
    return node.target is torch.ops.aten.clamp.default and len(types) > 1


# What the exporter refuses or drops at any size of the inputs. Refused: hypot, adaptive max pools, clamps between an
# int and a float. Dropped silently: the divisor_override of an average pool. In-place writes into slices would become
# scatters, masked writes scatters of a size that is known at run time alone.
REFUSED_OPS = (
    elementwise.arithmetic,
    scatter.slice_writes,
    pooling.avg_pool_divisor,
    pooling.adaptive_max_pool,
    attention.attention,
    mixed_clamp_bounds,
)

# Height and width known at export.
STATIC_PASSES = (DecomposeOps("decompose_for_onnx", *REFUSED_OPS, *RARE_OPS),)
# Height and width left open: RARE_OPS decompose for known sizes, so the exporter takes what it can.
DYNAMIC_PASSES = (DecomposeOps("decompose_for_onnx_dynamic", *REFUSED_OPS),)
