"""Decompose attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


# Axes of queries: batch, head, token, channel.
HEADED = 4


def attention(program: ExportedProgram) -> DecompositionTable:
    """Attention of four axes, keys and values repeated for the queries that share them; nothing where all is so."""
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
        if query.ndim == HEADED and not enable_gqa:
            return KEEP_OP
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        lead = query.shape[:-2]
        if mask is not None and query.ndim != HEADED:
            mask = mask.expand(*lead, *mask.shape[-2:]).reshape(1, -1, *mask.shape[-2:])
        if query.ndim != HEADED:
            query, key, value = (each.reshape(1, -1, *each.shape[-2:]) for each in (query, key, value))
        made = target(query, key, value, mask, *more, **rest)
        return made.reshape(*lead, *made.shape[-2:])

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    odd = any(node.args[0].meta["val"].ndim != HEADED or node.kwargs.get("enable_gqa") for node in nodes)
    return {target: attend} if odd else {}
