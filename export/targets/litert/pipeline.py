"""The passes of the LiteRT target, in order: on the ATen graph, on the module to convert, on the parsed .tflite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.base import Pass, run_passes
from export.passes.reduce_rank import ReduceRank
from export.program import Program
from export.targets.litert.passes.decompose_computed_kernels import decompose_computed_kernels
from export.targets.litert.passes.decompose_conv_transpose_padding import decompose_conv_transpose_padding
from export.targets.litert.passes.decompose_nearest_resize import decompose_nearest_resize
from export.targets.litert.passes.decompose_outer_product import decompose_outer_product
from export.targets.litert.passes.decompose_transposed_matmul import decompose_transposed_matmul
from export.targets.litert.passes.decompose_unsupported import decompose_unsupported
from export.targets.litert.passes.fold_constant_float64 import fold_constant_float64
from export.targets.litert.passes.remove_unread_indices import remove_unread_indices
from export.targets.litert.passes.replace_expanded_operands import replace_expanded_operands
from export.targets.litert.passes.replace_resize_factor import replace_resize_factor
from export.targets.litert.passes.replace_view import replace_view
from export.targets.litert.passes.widen_channel_constants import widen_channel_constants
from export.targets.litert.passes.widen_last_conv import widen_last_conv
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# The highest rank of a tensor that nearly every operator takes; views and transposes take more.
MOST_AXES = 5

ATEN_PASSES: tuple[Pass[ExportedProgram], ...] = (decompose_unsupported, ReduceRank(MOST_AXES))

# Passes that read shapes come first: nodes that the later ones add have none.
MODULE_PASSES: tuple[Pass[fx.GraphModule], ...] = (
    # Operands that the converter broadcasts, transposes or multiplies wrongly.
    replace_expanded_operands,
    decompose_outer_product,
    decompose_transposed_matmul,
    decompose_computed_kernels,
    # Results and constants that the runtime has no operator for.
    remove_unread_indices,
    fold_constant_float64,
    # Arguments that TFLite's operators do not have.
    decompose_nearest_resize,
    replace_resize_factor,
    decompose_conv_transpose_padding,
)

# Run where one of the passes above modified the program, before it is converted.
LAYOUT_PASSES: tuple[Pass[fx.GraphModule], ...] = (replace_view,)

# On the parsed .tflite of every recipe: the same numbers by operators with faster kernels.
FLATBUFFER_PASSES: tuple[Pass[Any], ...] = (widen_last_conv, widen_channel_constants)


def lower(program: Program, entry: EntrySpec) -> torch.nn.Module:
    """Return the module to convert: the entry's graph after the passes, or the entry's own module where none applied.

    The own module is preferred because the converter derives better tensor names from it.
    """
    original = program.callable(entry)
    captured = program.exported(entry)
    aten = run_passes(captured.program, ATEN_PASSES)
    module = run_passes(aten.program.module(check_guards=False), MODULE_PASSES)
    modified = captured.modified or aten.modified or module.modified
    if not modified and takes_layouts(original, program.example(entry)):
        return original
    graph = run_passes(module.program, LAYOUT_PASSES).program
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def takes_layouts(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> bool:
    """Return whether the module accepts channels-last memory, which the file has; an `aten.view` may not."""
    import torch

    turned = [value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for value in example]
    try:
        with torch.no_grad():
            module(*turned)
    except RuntimeError:
        return False
    return True
