"""Graph rewrites around faults of the converter, one file a fix, each with its symptom and what retires it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.complex_to_real.rewrite import MARK
from export.passes.reduce_rank import of_fewer_axes
from export.program import Program
from export.targets.litert.passes import (
    decompose_computed_kernels,
    decompose_conv_transpose_padding,
    decompose_nearest_resize,
    decompose_outer_product,
    decompose_transposed_matmul,
    decompose_unsupported,
    fold_constant_float64,
    remove_unread_indices,
    replace_expanded_operands,
    replace_resize_factor,
)
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch

# The most axes of a tensor that nearly every op takes; views and transposes take more.
AXES = 5
# Those first that read the shapes of nodes: what the others add has none.
GRAPH_FIXES = (
    replace_expanded_operands.apply,
    decompose_outer_product.apply,
    decompose_transposed_matmul.apply,
    decompose_computed_kernels.apply,
    remove_unread_indices.apply,
    fold_constant_float64.apply,
    decompose_nearest_resize.apply,
    replace_resize_factor.apply,
    decompose_conv_transpose_padding.apply,
)


def fixed(program: Program, entry: EntrySpec) -> torch.nn.Module:
    """The entry's module, rewritten where a fix applies; otherwise the module itself, whose names are better."""
    original = program.callable(entry)
    exported = program.exported(entry)
    spelled = of_fewer_axes(decompose_unsupported.spelled(exported), AXES)
    graph = spelled.module(check_guards=False)
    changed = [spelled is not exported, MARK in exported.graph_module.meta, *(apply(graph) for apply in GRAPH_FIXES)]
    if not any(changed) and takes_layouts(original, program.example(entry)):
        return original
    reshape_views(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def takes_layouts(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> bool:
    """Whether it computes on maps that lie channels-last in memory, as they do in the file; a `.view` may not."""
    import torch

    turned = [value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for value in example]
    try:
        with torch.no_grad():
            module(*turned)
    except RuntimeError:
        return False
    return True


def reshape_views(graph: torch.fx.GraphModule) -> None:
    """Make reshapes of views, in place: decomposing has made views of reshapes, too."""
    import torch

    aten = torch.ops.aten
    for node in graph.graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default
