"""Max pools whose places are read, and the unpooling that reads them (SegNet, Deep Image Matting)."""

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
    """Places as numbers computed from a channel a tap; what is unpooled, enlarged and kept where its place is.

    For square windows that do not overlap, each unpooled to the size it came from; nothing where a net has others.
    """
    import torch
    from torch.nn import functional as F

    aten = torch.ops.aten
    pool, unpool = aten.max_pool2d_with_indices.default, aten.max_unpool2d.default
    nodes = program.graph_module.graph.nodes
    pools = [node for node in nodes if node.target is pool and reads_places(node)]
    unpools = [node for node in nodes if node.target is unpool]
    if (
        not unpools
        or not all(tiles(*node.args[1:]) for node in pools)
        or not all(returns(node, pools) for node in unpools)
    ):
        return {}

    def max_pool(x: torch.Tensor, kernel: list[int], *more: Any) -> Any:
        if not tiles(kernel, *more):
            return KEEP_OP  # an ordinary pool beside them, which decomposing makes one of these
        side, width = pair(kernel)[0], x.shape[3]
        rows, columns = x.shape[2] // side, width // side
        taps = F.pixel_unshuffle(x[:, :, : rows * side, : columns * side], side)
        taps = taps.reshape(*x.shape[:2], side * side, rows, columns)
        tap = taps.argmax(2).to(torch.float32)
        down = torch.floor(tap / side)
        row = torch.arange(rows, dtype=torch.float32).unsqueeze(1) * side + down
        column = torch.arange(columns, dtype=torch.float32) * side + (tap - down * side)
        return taps.amax(2), (row * width + column).to(torch.int64)

    def max_unpool(x: torch.Tensor, places: torch.Tensor, size: list[int]) -> torch.Tensor:
        scale = size[0] // x.shape[2]
        rest = (0, size[1] - scale * x.shape[3], 0, size[0] - scale * x.shape[2])
        every = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(size)
        value = F.pad(F.interpolate(x, scale_factor=float(scale)), rest)
        # Outside of all windows lies place -1.
        place = F.pad(F.interpolate(places.to(torch.float32), scale_factor=float(scale)), rest, value=-1.0)
        return torch.where(place == every, value, torch.zeros_like(value))

    return {pool: max_pool, unpool: max_unpool}


def reads_places(node: fx.Node) -> bool:
    return any(user.target is getitem and user.args[1] == 1 and user.users for user in node.users)


def tiles(kernel: Any, *more: Any) -> bool:
    """Whether a pool's windows are square, side by side, from the first pixel on; by its arguments after the map."""
    rest: list[Any] = [[], [0], [1], False]
    stride, padding, dilation, ceil_mode = [*more, *rest[len(more) :]]
    plain = pair(padding) == [0, 0] and pair(dilation) == [1, 1] and not ceil_mode
    return plain and pair(stride or kernel) == pair(kernel) and len(set(pair(kernel))) == 1


def returns(node: fx.Node, pools: list[fx.Node]) -> bool:
    """Whether an unpooling reads the places of one of these, and makes a map of the size that was pooled."""
    places = node.args[1]
    source = places.args[0] if getattr(places, "target", None) is getitem else None  # type: ignore[union-attr]  # an FX node
    if source not in pools:
        return False
    return list(node.meta["val"].shape[2:]) == list(source.args[0].meta["val"].shape[2:])  # type: ignore[union-attr]  # FX nodes, too
