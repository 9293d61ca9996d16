"""Decompose `aten.scaled_dot_product_attention` with operands that converters refuse.

Before: attention(q [.., H, L, E], k [.., G, S, E], v [.., G, S, E], enable_gqa=True)     or operands of rank 3 or 5
After:  k and v repeated H / G times along the heads, then attention of rank 4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# The rank that converters expect of a query: batch, head, token, channel.
QUERY_RANK = 4


def attention(program: ExportedProgram) -> DecompositionTable:
    """Decompose attention of a rank other than four and grouped-query attention (Ainslie et al. 2023).

    Leading axes are joined into the head axis of a batch of one. Empty where the program has no such attention.
    """
    import torch

    target = torch.ops.aten.scaled_dot_product_attention.default

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None = None,
        *more: Any,
        enable_gqa: bool = False,
        **rest: Any,
    ) -> Any:
        if query.ndim == QUERY_RANK and not enable_gqa:
            return KEEP_OP
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        lead = query.shape[:-2]
        if mask is not None and query.ndim != QUERY_RANK:
            mask = mask.expand(*lead, *mask.shape[-2:]).reshape(1, -1, *mask.shape[-2:])
        if query.ndim != QUERY_RANK:
            query, key, value = (each.reshape(1, -1, *each.shape[-2:]) for each in (query, key, value))
        output = target(query, key, value, mask, *more, **rest)
        return output.reshape(*lead, *output.shape[-2:])

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    needed = any(node.args[0].meta["val"].ndim != QUERY_RANK or node.kwargs.get("enable_gqa") for node in nodes)
    return {target: attend} if needed else {}
