"""Graph rewrites around faults of the converter, one file a fix, each with its symptom and what retires it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.program import Program
from export.targets.litert.fixes import (
    constant_doubles,
    contiguous_weights,
    expanded_operands,
    missing_ops,
    nearest_ratio,
    resize_factor,
    transposed_padding,
    unread_places,
)
from models.spec import EntrySpec

if TYPE_CHECKING:
    import torch

# Expansions first: it reads the shapes of all nodes, and those that the others add have none.
GRAPH_FIXES = (
    expanded_operands.apply,
    constant_doubles.apply,
    nearest_ratio.apply,
    resize_factor.apply,
    transposed_padding.apply,
    unread_places.apply,
)


def fixed(program: Program, entry: EntrySpec) -> torch.nn.Module:
    """The entry's module, rewritten where a fix applies; otherwise the module itself, whose names are better."""
    original = program.callable(entry)
    exported = program.exported(entry)
    spelled = missing_ops.spelled(exported)
    graph = spelled.module(check_guards=False)
    changed = [spelled is not exported, *(apply(graph) for apply in GRAPH_FIXES)]
    if not any(changed):
        return contiguous_weights.apply(original)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return contiguous_weights.apply(graph)
