"""Arguments that converters drop, misread or refuse, as ops of their own. Each is for the targets that need it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from export.passes.decompose.spell_out import Table, unchanged

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

# Axes of queries: batch, head, token, channel.
HEADED = 4


def scaled_sums(exported: ExportedProgram) -> Table:
    """Sums and differences whose second operand has a factor; nothing where no node of the program has one."""
    import torch

    aten = torch.ops.aten

    def add(x: torch.Tensor, y: torch.Tensor | float, *, alpha: float = 1) -> Any:
        return unchanged() if alpha == 1 else x + y * alpha

    def sub(x: torch.Tensor, y: torch.Tensor | float, *, alpha: float = 1) -> Any:
        return unchanged() if alpha == 1 else x - y * alpha

    table: Table = {aten.add.Tensor: add, aten.sub.Tensor: sub, aten.add_.Tensor: add, aten.sub_.Tensor: sub}
    nodes = exported.graph_module.graph.nodes
    return table if any(node.target in table and node.kwargs.get("alpha", 1) != 1 for node in nodes) else {}


def float_bounds(exported: ExportedProgram) -> Table:
    """Bounds of floats as floats; nothing where no node of the program writes one as a whole number."""
    import torch

    aten = torch.ops.aten
    targets = (aten.clamp.default, aten.hardtanh.default, aten.threshold.default)

    def rewrite(target: Any) -> Any:
        def with_floats(x: torch.Tensor, *bounds: Any) -> Any:
            if not x.is_floating_point() or not any(isinstance(bound, int) for bound in bounds):
                return unchanged()
            return target(x, *(None if bound is None else float(bound) for bound in bounds))

        return with_floats

    nodes = [node for node in exported.graph_module.graph.nodes if node.target in targets]
    whole = any(isinstance(bound, int) for node in nodes for bound in node.args[1:])
    return {target: rewrite(target) for target in targets} if whole else {}


def odd_attention(exported: ExportedProgram) -> Table:
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
            return unchanged()
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

    nodes = [node for node in exported.graph_module.graph.nodes if node.target is target]
    odd = any(node.args[0].meta["val"].ndim != HEADED or node.kwargs.get("enable_gqa") for node in nodes)
    return {target: attend} if odd else {}


def unrolled() -> Table:
    """Recurrent layers as a step after the other: PyTorch's own decompositions, which nothing takes by default."""
    import torch

    aten = torch.ops.aten
    layers = [aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input]
    table: Table = import_module("torch._decomp").get_decompositions(layers)
    return table
