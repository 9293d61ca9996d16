"""Graph rewrites around faults of the converter, one file a fix, each with its symptom and what retires it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.high_ranks import of_fewer_axes
from export.program import Program
from export.real_parts import MARK
from export.targets.litert.fixes import (
    both_transposed,
    computed_kernels,
    constant_doubles,
    expanded_operands,
    missing_ops,
    nearest_ratio,
    outer_products,
    resize_factor,
    transposed_padding,
    unread_places,
)
from models.spec import EntrySpec

if TYPE_CHECKING:
    import torch

# The most axes of a tensor that nearly every op takes; views and transposes take more.
AXES = 5
# Those first that read the shapes of nodes: what the others add has none.
GRAPH_FIXES = (
    expanded_operands.apply,
    outer_products.apply,
    both_transposed.apply,
    computed_kernels.apply,
    unread_places.apply,
    constant_doubles.apply,
    nearest_ratio.apply,
    resize_factor.apply,
    transposed_padding.apply,
)


def fixed(program: Program, entry: EntrySpec) -> torch.nn.Module:
    """The entry's module, rewritten where a fix applies; otherwise the module itself, whose names are better."""
    original = program.callable(entry)
    exported = program.exported(entry)
    spelled = of_fewer_axes(missing_ops.spelled(exported), AXES)
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
