"""Decompose resizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from export.passes.aten import constant

if TYPE_CHECKING:
    import torch
    from torch import fx


def resizes() -> dict[Any, int]:
    """PyTorch's resizing ops as torch.export writes them, and the place of their scale factors."""
    import torch

    aten = torch.ops.aten
    nearest = (aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec)
    exact = (aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec)
    linear = (aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_bicubic2d.vec)
    smooth = (aten._upsample_bilinear2d_aa.vec, aten._upsample_bicubic2d_aa.vec)
    return dict.fromkeys((*nearest, *exact), 2) | dict.fromkeys((*linear, *smooth), 3)


def scales_of(node: fx.Node) -> list[float] | None:
    """The scale factors a resize was given, or None where it was given a size."""
    place = resizes()[node.target]
    found = node.args[place] if len(node.args) > place else node.kwargs.get("scale_factors")
    return [float(item) for item in found] if isinstance(found, list | tuple) else None


def decompose_resizes(graph: fx.GraphModule, chosen: Callable[[fx.Node], bool]) -> bool:
    """Rewrite the chosen resizes in place, as gathers of rows and columns (nearest) or as matrix products (others).

    `graph` is an program program's module, whose nodes carry their example values. Returns whether there was one.
    """
    known = resizes()
    found = [node for node in graph.graph.nodes if node.target in known and chosen(node)]
    for node in found:
        value = node.args[0]
        with graph.graph.inserting_before(node):
            for axis in range(2, node.meta["val"].ndim):
                value = resized(graph, node, value, axis)
        node.replace_all_uses_with(value)
        graph.graph.erase_node(node)
    return bool(found)


def resized(graph: fx.GraphModule, node: fx.Node, value: Any, axis: int) -> Any:
    """One axis of a resize. Nearest picks are recognised by their weights: a single 1 a row."""
    import torch

    aten = torch.ops.aten
    table = weights(node, axis)
    rows, columns = table.shape
    if rows == columns and torch.equal(table, torch.eye(rows)):
        return value
    if bool(((table == 0) | (table == 1)).all()) and known_nearest(node):
        index = table.argmax(1)
        return graph.graph.call_function(aten.index_select.default, (value, axis, constant(graph, index)))
    if axis == node.meta["val"].ndim - 1:
        return graph.graph.call_function(aten.matmul.default, (value, constant(graph, table.T.contiguous())))
    return graph.graph.call_function(aten.matmul.default, (constant(graph, table), value))


def known_nearest(node: fx.Node) -> bool:
    return resizes()[node.target] == 2


def weights(node: fx.Node, axis: int) -> torch.Tensor:
    """[made, size]: how much each place of the axis adds to each place made, by PyTorch itself on unit vectors."""
    import torch

    size, made = int(node.args[0].meta["val"].shape[axis]), int(node.meta["val"].shape[axis])  # type: ignore[union-attr]  # the node that is resized
    flat, scales = node.meta["val"].ndim == 3, scales_of(node)
    basis = torch.eye(size).reshape(1, size, size)
    # Beside the axis stands one that stays as it is, of two places: PyTorch's antialiasing is wrong beside one of one.
    basis = basis if flat else basis[..., None].repeat(1, 1, 1, 2)
    more = [] if flat else [2]
    corners = [bool(node.args[2])] if resizes()[node.target] == 3 else []
    with torch.no_grad():
        if scales is None:
            found = node.target(basis, [made, *more], *corners, None)  # type: ignore[operator]  # an op
        else:
            found = node.target(basis, None, *corners, [scales[axis - 2], *(1.0 for _ in more)])  # type: ignore[operator]  # an op
    table: torch.Tensor = found.reshape(size, made, -1)[..., 0].T.contiguous()
    return table
