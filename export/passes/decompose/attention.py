"""Decompose `aten.scaled_dot_product_attention` with operands that converters refuse or get wrong.

Symptom: operands of rank 3 or 5, and grouped queries, are refused. With a mask, a row that allows no key is uniform or
NaN in the files, where PyTorch returns zeros.
Cause: the converters' own decompositions add a large negative number where the mask is False, or -inf, and call
softmax; PyTorch returns zeros for rows of -inf (`aten._safe_softmax`).
Retired by: converters that implement `_safe_softmax` and all ranks.

Before: attention(q [.., H, L, E], k [.., G, S, E], v [.., G, S, E], mask, enable_gqa=True)
After:  k and v repeated H / G times along the heads, and attention of rank 4; with a mask
        where(any(allowed), softmax(where(mask, q k^T * scale, MASKED)) v, 0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# The rank that converters expect of a query: batch, head, token, channel.
QUERY_RANK = 4
# The score of a key that a boolean mask forbids: float16 holds it, and its exponential is 0 beside any score above
# -29,890. Infinity would be NaN in rows that allow no key.
MASKED = -3e4


def attention(program: ExportedProgram) -> DecompositionTable:
    """Decompose attention with a mask, of a rank other than four, and of grouped queries (Ainslie et al. 2023).

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
        scale: float | None = None,
        enable_gqa: bool = False,
        **rest: Any,
    ) -> Any:
        if query.ndim == QUERY_RANK and not enable_gqa and mask is None:
            return KEEP_OP
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        lead = query.shape[:-2]
        if mask is not None and query.ndim != QUERY_RANK:
            mask = mask.expand(*lead, *mask.shape[-2:]).reshape(1, -1, *mask.shape[-2:])
        if query.ndim != QUERY_RANK:
            query, key, value = (each.reshape(1, -1, *each.shape[-2:]) for each in (query, key, value))
        if mask is None:
            output = target(query, key, value, None, *more, scale=scale, **rest)
        else:
            output = masked_attention(query, key, value, mask, scale)
        return output.reshape(*lead, *output.shape[-2:])

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    return {target: attend} if any(map(needs_decomposition, nodes)) else {}


def needs_decomposition(node: fx.Node) -> bool:
    """Return whether the attention has a mask, grouped queries, or another rank than four."""
    query: Any = node.args[0]
    mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")
    return query.meta["val"].ndim != QUERY_RANK or mask is not None or bool(node.kwargs.get("enable_gqa"))


def masked_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scale: float | None
) -> torch.Tensor:
    """Return the attention of rank 4; rows whose `mask` allows no key are zero, as in PyTorch.

    `mask` is boolean (True allows) or is added to the scores (-inf forbids); it broadcasts to [.., L, S].
    """
    import torch

    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    boolean = mask.dtype == torch.bool
    allowed = mask if boolean else mask > -torch.inf
    scores = torch.where(mask, scores, MASKED) if boolean else scores + mask
    output = scores.softmax(-1) @ value
    return torch.where(allowed.any(-1, keepdim=True), output, 0.0)
