"""The passes of the TF.js target, in order: on the ATen graph, then on the ONNX graph that is lowered op by op."""

from __future__ import annotations

from export.onnx_export.antialias import decompose_antialias
from export.onnx_export.refused_ops import REFUSED_OPS
from export.passes.decompose import grid_sample, integer_products, recurrent
from export.passes.decompose.table import DecomposeOps
from export.passes.pipelines import RARE_OPS
from export.passes.reduce_rank import ReduceRank
from export.targets.tfjs.passes.fuse_group_norm import fuse_group_norm

# The highest rank of a tensor in TF.js.
MOST_AXES = 6

ATEN_PASSES = (
    # Resizes whose arguments the exporter drops.
    decompose_antialias,
    # Ops that PyTorch's ONNX exporter refuses, and ops without a TF.js kernel: grid sampling, recurrent layers, and
    # products of integers.
    DecomposeOps(
        "decompose_for_tfjs",
        *REFUSED_OPS,
        *RARE_OPS,
        grid_sample.decompositions,
        recurrent.unroll,
        integer_products.decompositions,
    ),
    ReduceRank(MOST_AXES),
)

ONNX_PASSES = (
    # Without it, a Transpose stands before and after each group norm of a channels-last graph.
    fuse_group_norm,
)
