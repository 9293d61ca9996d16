"""Decompose padding that converters have no mode for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def circular_and_negative_pad(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.pad` with mode "circular" into `aten.cat`, and negative padding into slices.

    Other padding stays. A pad with both signs is cropped first; the rest is padded by `aten.pad`.
    """
    import torch
    from torch.nn import functional as F

    def pad(x: torch.Tensor, widths: list[int], mode: str = "constant", value: float | None = None) -> Any:
        if mode != "circular" and min(widths) >= 0:
            return KEEP_OP
        # `widths` begins with the last axis.
        for dim, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
            axis = x.ndim - 1 - dim
            size = x.shape[axis]
            x = x.narrow(axis, max(0, -before), size + min(0, before) + min(0, after))
            if mode == "circular":
                pieces = [x.narrow(axis, size - max(0, before), max(0, before)), x, x.narrow(axis, 0, max(0, after))]
                x = torch.cat([piece for piece in pieces if piece.shape[axis]], axis)
        positive = [max(0, width) for width in widths]
        return F.pad(x, positive, mode, value) if mode != "circular" and any(positive) else x

    def constant_pad(x: torch.Tensor, widths: list[int], value: float = 0) -> Any:
        return pad(x, widths, "constant", value)

    aten = torch.ops.aten
    table: DecompositionTable = {aten.pad.default: pad}
    # A program whose constant padding only pads keeps its graph.
    nodes: Any = program.graph_module.graph.nodes
    if any(node.target is aten.constant_pad_nd.default and min(node.args[1]) < 0 for node in nodes):
        table[aten.constant_pad_nd.default] = constant_pad
    return table
