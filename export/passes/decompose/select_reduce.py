"""Decompose reductions into computed positions into a comparison of every index with every position.

Before: scatter_reduce(x, dim, index, source, "amax"), index_reduce, put, masked_scatter, embedding_bag
After:  index[i] == j for every pair (i, j), `aten.where`, and a reduction over i

Symptom: "No decompositions registered for aten.scatter_reduce", "op '_embedding_bag_forward_only' is not supported".
Cause: the formats write to computed positions by plain scatters only, if at all.
Retired by: nothing known.

The comparison holds one element per pair, so calls with more than `MOST_PAIRS` pairs are left as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

MOST_PAIRS = 1_000_000
# The element that changes no reduction.
NEUTRAL = {"sum": 0.0, "prod": 1.0, "mean": 0.0, "amax": -math.inf, "amin": math.inf}


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose the reductions of floats; integers have no infinities and stay."""
    return scatters() | flat_writes() | bags()


def scatters() -> DecompositionTable:
    """Decompose `aten.scatter_reduce` and `aten.index_reduce`."""
    import torch

    def scatter_reduce(
        x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
    ) -> Any:
        if x.ndim == 0:
            row = scatter_reduce(
                x.reshape(1), 0, index.reshape(-1), source.reshape(-1), reduce, include_self=include_self
            )
            return row if row is KEEP_OP else row.reshape(())
        if not x.is_floating_point() or index.numel() * x.shape[dim] > MOST_PAIRS:
            return KEEP_OP
        axis = dim % x.ndim
        source = source[tuple(slice(0, size) for size in index.shape)]
        inner, rest = x, []
        for other in range(x.ndim):
            if other != axis and index.shape[other] < inner.shape[other]:
                size = index.shape[other]
                rest.append((other, inner.narrow(other, size, inner.shape[other] - size)))
                inner = inner.narrow(other, 0, size)
        positions = torch.arange(x.shape[axis])
        hit = index.movedim(axis, -1).unsqueeze(-2) == positions.unsqueeze(-1)
        values = source.movedim(axis, -1).unsqueeze(-2)
        result = reduced(inner.movedim(axis, -1), hit, values, reduce, include_self).movedim(-1, axis)
        for other, part in reversed(rest):
            result = torch.cat([result, part], other)
        return result

    def index_reduce(
        x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
    ) -> Any:
        if x.ndim == 0:
            return scatter_reduce(x, 0, index, source, reduce, include_self=include_self)
        shape = [index.numel() if axis == dim % x.ndim else 1 for axis in range(x.ndim)]
        whole = index.reshape(shape).expand(source.shape)
        return scatter_reduce(x, dim, whole, source, reduce, include_self=include_self)

    aten = torch.ops.aten
    return {aten.scatter_reduce.two: scatter_reduce, aten.index_reduce.default: index_reduce}


def reduced(x: Tensor, hit: Tensor, values: Tensor, reduce: str, include_self: bool) -> Tensor:
    """Return x [..., n] with the reductions of the `values` [..., 1, m] whose `hit` [..., n, m] is True."""
    import torch

    name = {"add": "sum", "mul": "prod"}.get(reduce, reduce)
    chosen = torch.where(hit, values, torch.full([], NEUTRAL[name], dtype=values.dtype))
    count = hit.to(x.dtype).sum(-1)
    touched = count > 0
    own = x if include_self else torch.where(touched, torch.full_like(x, NEUTRAL[name]), x)
    if name in ("amax", "amin"):
        joined = torch.maximum(own, chosen.amax(-1)) if name == "amax" else torch.minimum(own, chosen.amin(-1))
        return torch.where(touched, joined, x)
    if name == "prod":
        return own * chosen.prod(-1)
    total = own + chosen.sum(-1)
    if name == "sum":
        return total
    return total / torch.clamp(count + 1 if include_self else count, min=1.0)


def flat_writes() -> DecompositionTable:
    """Decompose `aten.put`, by the flat position, and `aten.masked_scatter`, which takes its source in order."""
    import torch

    def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Any:
        if not x.is_floating_point() or x.numel() * index.numel() > MOST_PAIRS:
            return KEEP_OP
        flat, index, source = x.reshape(-1), index.reshape(-1), source.reshape(-1)
        index = torch.where(index < 0, index + x.numel(), index)
        hit = index == torch.arange(x.numel()).unsqueeze(-1)
        if accumulate:
            return (flat + torch.where(hit, source, torch.zeros_like(source)).sum(-1)).reshape(x.shape)
        order = torch.arange(1, index.numel() + 1, dtype=torch.float32)
        marked = torch.where(hit, order, torch.zeros_like(order))
        last = marked.amax(-1, keepdim=True)
        written = torch.where(hit & (marked == last), source, torch.zeros_like(source)).sum(-1)
        return torch.where(last.squeeze(-1) > 0, written, flat).reshape(x.shape)

    def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
        mask = mask.expand(torch.broadcast_shapes(x.shape, mask.shape))
        x = x.expand(mask.shape)
        flat = mask.reshape(-1)
        taken = torch.clamp(flat.to(torch.int64).cumsum(0) - 1, min=0, max=source.numel() - 1)
        return torch.where(mask, source.reshape(-1).index_select(0, taken).reshape(x.shape), x)

    aten = torch.ops.aten
    return {aten.put.default: put, aten.masked_scatter.default: masked_scatter}


def bags() -> DecompositionTable:
    """Decompose `aten.embedding_bag`: a bag of each index by comparison with the offsets, then a masked reduction."""
    import torch

    names = ("scale_grad_by_freq", "mode", "sparse", "per_sample_weights", "include_last_offset", "padding_idx")

    def embedding_bag(weight: Tensor, indices: Tensor, offsets: Tensor, *arguments: Any, **more: Any) -> Any:
        options = dict(zip(names, arguments, strict=False)) | more
        mode, per_sample_weights = options.get("mode", 0), options.get("per_sample_weights")
        include_last_offset, padding_idx = options.get("include_last_offset", False), options.get("padding_idx")
        count = offsets.shape[0] - int(include_last_offset)
        if count < 1 or indices.numel() * weight.shape[1] * count > MOST_PAIRS:
            return KEEP_OP
        start = offsets[:count].unsqueeze(-1)
        last = torch.full([1], indices.numel(), dtype=offsets.dtype)
        end = offsets[1 : count + 1] if include_last_offset else torch.cat([offsets[1:], last])
        position = torch.arange(indices.numel())
        hit = (position >= start) & (position < end.unsqueeze(-1))
        if padding_idx is not None and padding_idx >= 0:
            hit = hit & (indices != padding_idx)
        rows = weight.index_select(0, indices)
        if per_sample_weights is not None:
            rows = rows * per_sample_weights.unsqueeze(-1)
        number = hit.to(rows.dtype).sum(-1, keepdim=True)
        if mode == 2:
            chosen = torch.where(hit.unsqueeze(-1), rows, torch.full([], -math.inf, dtype=rows.dtype))
            result = torch.where(number > 0, chosen.amax(1), torch.zeros_like(rows[:1]))
        else:
            result = hit.to(rows.dtype) @ rows
            result = result / torch.clamp(number, min=1.0) if mode == 1 else result
        return result, torch.zeros_like(indices), torch.zeros_like(offsets), torch.zeros_like(offsets)

    aten = torch.ops.aten
    return {
        aten._embedding_bag.default: embedding_bag,
        aten._embedding_bag_forward_only.default: embedding_bag,
        aten.embedding_bag.padding_idx: embedding_bag,
        aten.embedding_bag.default: embedding_bag,
    }
