"""Decompose max unpooling and the max pools whose indices it reads (SegNet, Deep Image Matting)."""

from __future__ import annotations

from operator import getitem
from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.max_unpool2d` and the `aten.max_pool2d_with_indices` that it reads.

    Before: values, indices = max_pool(x); max_unpool(y, indices, size).
    After: the pool's argmax over pixel_unshuffle(x), as flat indices computed from it; a nearest upsampling of y and of
    the indices, and y where the index is the pixel's own, 0 elsewhere.

    For square windows that do not overlap, each unpooled to the size that was pooled. Empty where the program has
    other unpoolings.
    """
    import torch
    from torch.nn import functional as F

    aten = torch.ops.aten
    pool, unpool = aten.max_pool2d_with_indices.default, aten.max_unpool2d.default
    nodes = program.graph_module.graph.nodes
    pools = [node for node in nodes if node.target is pool and has_index_reader(node)]
    unpools = [node for node in nodes if node.target is unpool]
    if (
        not unpools
        or not all(is_tiling(*node.args[1:]) for node in pools)
        or not all(restores_size(node, pools) for node in unpools)
    ):
        return {}

    def max_pool(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        if not is_tiling(kernel, *more):
            return KEEP_OP  # an ordinary max pool, which `run_decompositions` turns into the op with indices
        side, width = pair(kernel)[0], x.shape[3]
        rows, columns = x.shape[2] // side, width // side
        taps = F.pixel_unshuffle(x[:, :, : rows * side, : columns * side], side)
        taps = taps.reshape(*x.shape[:2], side * side, rows, columns)
        tap = taps.argmax(2).to(torch.float32)
        down = torch.floor(tap / side)
        row = torch.arange(rows, dtype=torch.float32).unsqueeze(1) * side + down
        column = torch.arange(columns, dtype=torch.float32) * side + (tap - down * side)
        return taps.amax(2), (row * width + column).to(torch.int64)

    def max_unpool(x: torch.Tensor, indices: torch.Tensor, size: list[int]) -> torch.Tensor:
        scale = size[0] // x.shape[2]
        rest = (0, size[1] - scale * x.shape[3], 0, size[0] - scale * x.shape[2])
        pixels = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(size)
        values = F.pad(F.interpolate(x, scale_factor=float(scale)), rest)
        # Pixels outside of all windows get index -1, which no pixel has.
        sources = F.pad(F.interpolate(indices.to(torch.float32), scale_factor=float(scale)), rest, value=-1.0)
        return torch.where(sources == pixels, values, torch.zeros_like(values))

    return {pool: max_pool, unpool: max_unpool}


def has_index_reader(node: fx.Node) -> bool:
    """Return whether a node reads the second output of `node`."""
    return any(user.target is getitem and user.args[1] == 1 and user.users for user in node.users)


def is_tiling(kernel: Any, *more: Any) -> bool:
    """Return whether a pool's windows are square and tile the input from the first pixel on.

    `more`: stride, padding, dilation, ceil_mode, as in the op's schema.
    """
    defaults: list[Any] = [[], [0], [1], False]
    stride, padding, dilation, ceil_mode = [*more, *defaults[len(more) :]]
    plain = pair(padding) == [0, 0] and pair(dilation) == [1, 1] and not ceil_mode
    return plain and pair(stride or kernel) == pair(kernel) and len(set(pair(kernel))) == 1


def restores_size(node: fx.Node, pools: list[fx.Node]) -> bool:
    """Return whether an unpooling reads the indices of one of `pools` and restores the size that was pooled."""
    indices = node.args[1]
    source = indices.args[0] if getattr(indices, "target", None) is getitem else None  # type: ignore[union-attr]  # an FX node
    if source not in pools:
        return False
    return list(node.meta["val"].shape[2:]) == list(source.args[0].meta["val"].shape[2:])  # type: ignore[union-attr]  # FX nodes, too
