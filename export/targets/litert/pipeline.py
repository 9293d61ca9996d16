"""The passes of the LiteRT target, in order: on the ATen graph, on the module to convert, on the parsed .tflite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.base import Pass, run_passes
from export.passes.reduce_rank import ReduceRank
from export.program import Program
from export.targets.litert.passes.aten.decompose_unsupported import decompose_unsupported
from export.targets.litert.passes.flatbuffer.decompose_single_channel_conv import decompose_single_channel_conv
from export.targets.litert.passes.flatbuffer.tile_channel_constants import tile_channel_constants
from export.targets.litert.passes.fx.decompose_conv_transpose2d import decompose_conv_transpose2d
from export.targets.litert.passes.fx.decompose_expand import decompose_expand
from export.targets.litert.passes.fx.decompose_upsample_nearest2d import decompose_upsample_nearest2d
from export.targets.litert.passes.fx.fold_float64_constants import fold_float64_constants
from export.targets.litert.passes.fx.insert_kernel_reshape import insert_kernel_reshape
from export.targets.litert.passes.fx.keep_topk_indices import keep_topk_indices
from export.targets.litert.passes.fx.replace_outer_product import replace_outer_product
from export.targets.litert.passes.fx.replace_resize_with_matmul import replace_resize_with_matmul
from export.targets.litert.passes.fx.replace_transposed_matmul import replace_transposed_matmul
from export.targets.litert.passes.fx.replace_view import replace_view
from export.targets.litert.passes.fx.sink_expand import sink_expand
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# The highest rank that nearly every TFLite operator takes. Views and transposes take more.
MAX_RANK = 5

ATEN_PASSES: tuple[Pass[ExportedProgram], ...] = (decompose_unsupported, ReduceRank(MAX_RANK))

# Passes that read shapes come first: nodes that the later ones add have none.
MODULE_PASSES: tuple[Pass[fx.GraphModule], ...] = (
    # Operands that the converter broadcasts, transposes or multiplies wrongly.
    sink_expand,
    decompose_expand,
    replace_outer_product,
    replace_transposed_matmul,
    insert_kernel_reshape,
    # Outputs and constants that the runtime has no operator for.
    keep_topk_indices,
    fold_float64_constants,
    # Arguments that TFLite's operators do not have.
    decompose_upsample_nearest2d,
    replace_resize_with_matmul,
    decompose_conv_transpose2d,
)

# Run where one of the passes above modified the program, before it is converted.
LAYOUT_PASSES: tuple[Pass[fx.GraphModule], ...] = (replace_view,)

# Run on the parsed .tflite of every recipe: the same values from operators with faster kernels.
FLATBUFFER_PASSES: tuple[Pass[Any], ...] = (decompose_single_channel_conv, tile_channel_constants)


def lower(program: Program, entry: EntrySpec) -> torch.nn.Module:
    """Return the module to convert: the entry's graph after the passes, or the entry's own module where none applied.

    The own module is preferred because the converter derives better tensor names from it.
    """
    original = program.callable(entry)
    captured = program.exported(entry)
    aten = run_passes(captured.program, ATEN_PASSES)
    module = run_passes(aten.program.module(check_guards=False), MODULE_PASSES)
    modified = captured.modified or aten.modified or module.modified
    if not modified and accepts_channels_last(original, program.example(entry)):
        return original
    graph = run_passes(module.program, LAYOUT_PASSES).program
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def accepts_channels_last(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> bool:
    """Return whether the module runs on channels-last memory, which the file has. A module with `aten.view` may not."""
    import torch

    inputs = [value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for value in example]
    try:
        with torch.no_grad():
            module(*inputs)
    except RuntimeError:
        return False
    return True
