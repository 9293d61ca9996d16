"""The passes of the Core ML target, in order, on the ATen graph that coremltools converts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.passes.base import Pass, PassResult
from export.passes.decompose import dynamic_conv
from export.passes.decompose.table import DecomposeOps
from export.passes.pipelines import RARE_OPS
from export.passes.reduce_rank import ReduceRank
from export.targets.coreml.passes.copy_passthrough_outputs import copy_passthrough_outputs
from export.targets.coreml.passes.decompose_affine_grid import decompose_affine_grid
from export.targets.coreml.passes.decompose_arguments import decompose_arguments
from export.targets.coreml.passes.decompose_conv_transpose import decompose_conv_transpose
from export.targets.coreml.passes.decompose_log_softmax import decompose_log_softmax
from export.targets.coreml.passes.decompose_pad import decompose_pad
from export.targets.coreml.passes.decompose_pool import decompose_pool
from export.targets.coreml.passes.decompose_resize import decompose_resize
from export.targets.coreml.passes.decompose_rms_norm import decompose_rms_norm
from export.targets.coreml.passes.decompose_scalar_where import decompose_scalar_where
from export.targets.coreml.passes.decompose_scatter import decompose_scatter
from export.targets.coreml.passes.decompose_triangle import decompose_triangle
from export.targets.coreml.passes.decompose_unsupported import decompose_unsupported
from export.targets.coreml.passes.decompose_vector_matmul import decompose_vector_matmul
from export.targets.coreml.passes.insert_default_arguments import insert_default_arguments
from export.targets.coreml.passes.insert_scalar_axis import insert_scalar_axis
from export.targets.coreml.passes.promote_where_scalars import promote_where_scalars
from export.targets.coreml.passes.remove_alias import remove_alias
from export.targets.coreml.passes.replace_bitwise_bool import replace_bitwise_bool

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# The highest rank of a tensor in a MIL program.
MAX_RANK = 5


def decompose_to_core_aten(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Run PyTorch's default decompositions: coremltools refuses the training IR ("Provided Dialect: TRAINING")."""
    return PassResult(program.run_decompositions({}), True)


# Each run of decompositions may bring these ops back, so they run between the passes.
CLEANUP_PASSES: tuple[Pass[ExportedProgram], ...] = (remove_alias, copy_passthrough_outputs, replace_bitwise_bool)


def with_cleanup(passes: Sequence[Pass[ExportedProgram]]) -> tuple[Pass[ExportedProgram], ...]:
    """Return `passes` with CLEANUP_PASSES before each of them and at the end."""
    return (*(step for each in passes for step in (*CLEANUP_PASSES, each)), *CLEANUP_PASSES)


ATEN_PASSES: tuple[Pass[ExportedProgram], ...] = (
    # On the training IR: resizes at ratios that MIL cannot express, rare ops, tensors of more than five axes.
    decompose_resize,
    decompose_conv_transpose,
    DecomposeOps("decompose_rare_ops", *RARE_OPS, dynamic_conv.decompositions),
    ReduceRank(MAX_RANK),
    decompose_to_core_aten,
    # On core ATen: what coremltools 9.0 refuses on its export path, or gets wrong on every path.
    *with_cleanup(
        (
            decompose_arguments,
            decompose_scatter,
            decompose_pad,
            decompose_rms_norm,
            decompose_log_softmax,
            decompose_pool,
            decompose_triangle,
            decompose_affine_grid,
            decompose_scalar_where,
            promote_where_scalars,
            decompose_vector_matmul,
            insert_scalar_axis,
            # Last: the ops that coremltools has no conversion for after all of the above.
            decompose_unsupported,
            # Every run of decompositions leaves arguments out that have their default.
            insert_default_arguments,
        )
    ),
)
