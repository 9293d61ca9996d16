"""Decompose resizes (`aten.upsample_*`) into gathers or matrix products. Targets choose which of their nodes.

The index or the matrix along each axis comes from PyTorch's own op, run on unit vectors, so that its rounding is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from export.passes.aten import constant
from export.passes.base import PassResult

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# The position of `scale_factors` in the schema: after `align_corners` where the op interpolates.
NEAREST_SCALES, LINEAR_SCALES = 2, 3


def resizes() -> dict[Any, int]:
    """Return the resize ops that torch.export writes, with the position of their `scale_factors` argument."""
    import torch

    aten = torch.ops.aten
    nearest = (aten.upsample_nearest1d.vec, aten.upsample_nearest2d.vec)
    exact = (aten._upsample_nearest_exact1d.vec, aten._upsample_nearest_exact2d.vec)
    linear = (aten.upsample_linear1d.vec, aten.upsample_bilinear2d.vec, aten.upsample_bicubic2d.vec)
    antialiased = (aten._upsample_bilinear2d_aa.vec, aten._upsample_bicubic2d_aa.vec)
    return dict.fromkeys((*nearest, *exact), NEAREST_SCALES) | dict.fromkeys((*linear, *antialiased), LINEAR_SCALES)


def scales_of(node: fx.Node) -> list[float] | None:
    """Return the scale factors of a resize, or None where it was given a size."""
    position = resizes()[node.target]
    scales = node.args[position] if len(node.args) > position else node.kwargs.get("scale_factors")
    return [float(scale) for scale in scales] if isinstance(scales, list | tuple) else None


def decompose_program_resizes(
    program: ExportedProgram, chosen: Callable[[fx.Node], bool]
) -> PassResult[ExportedProgram]:
    """Decompose the chosen resizes of a program; others stay. Exports the program again where one is chosen."""
    import torch

    known = resizes()
    if not any(node.target in known and chosen(node) for node in program.graph_module.graph.nodes):
        return PassResult(program, False)
    graph = program.module(check_guards=False)
    decompose_resizes(graph, chosen)
    graph.recompile()
    return PassResult(torch.export.export(graph, program.example_inputs[0], strict=False), True)


def op_name_of(node: fx.Node) -> str:
    """Return the name of a resize without its library: "upsample_bilinear2d", "_upsample_bicubic2d_aa"."""
    return str(node.target._schema.name).rpartition("::")[2]  # type: ignore[union-attr]  # resizing ops have schemas


def decompose_resizes(graph: fx.GraphModule, chosen: Callable[[fx.Node], bool]) -> bool:
    """Replace the chosen resizes in place; return whether there was one.

    Nearest becomes one `aten.index_select` per axis, interpolation one `aten.matmul` per axis. `graph` is the module of
    an exported program, whose nodes carry example values.
    """
    known = resizes()
    nodes = [node for node in graph.graph.nodes if node.target in known and chosen(node)]
    for node in nodes:
        value = node.args[0]
        with graph.graph.inserting_before(node):
            for axis in range(2, node.meta["val"].ndim):
                value = resize_axis(graph, node, value, axis)
        node.replace_all_uses_with(value)
        graph.graph.erase_node(node)
    return bool(nodes)


def resize_axis(graph: fx.GraphModule, node: fx.Node, value: Any, axis: int) -> Any:
    """Add the nodes that resize one axis of `value`. A nearest resize has a matrix with a single 1 per row."""
    import torch

    aten = torch.ops.aten
    matrix = resize_matrix(node, axis)
    rows, columns = matrix.shape
    if rows == columns and torch.equal(matrix, torch.eye(rows)):
        return value
    if bool(((matrix == 0) | (matrix == 1)).all()) and is_nearest(node):
        index = matrix.argmax(1)
        return graph.graph.call_function(aten.index_select.default, (value, axis, constant(graph, index)))
    if axis == node.meta["val"].ndim - 1:
        return graph.graph.call_function(aten.matmul.default, (value, constant(graph, matrix.T.contiguous())))
    return graph.graph.call_function(aten.matmul.default, (constant(graph, matrix), value))


def is_nearest(node: fx.Node) -> bool:
    return resizes()[node.target] == NEAREST_SCALES


def resize_matrix(node: fx.Node, axis: int) -> torch.Tensor:
    """Return [output size, input size]: the weight of each input index in each output index along `axis`."""
    import torch

    size = int(node.args[0].meta["val"].shape[axis])  # type: ignore[union-attr]  # the node that is resized
    output_size = int(node.meta["val"].shape[axis])
    flat, scales = node.meta["val"].ndim == 3, scales_of(node)
    basis = torch.eye(size).reshape(1, size, size)
    # A second axis of size two, which stays as it is: PyTorch's antialiasing is wrong beside an axis of size one.
    basis = basis if flat else basis[..., None].repeat(1, 1, 1, 2)
    other = [] if flat else [2]
    corners = [] if is_nearest(node) else [bool(node.args[2])]
    with torch.no_grad():
        if scales is None:
            output = node.target(basis, [output_size, *other], *corners, None)  # type: ignore[operator]  # an op
        else:
            output = node.target(basis, None, *corners, [scales[axis - 2], *(1.0 for _ in other)])  # type: ignore[operator]  # an op
    matrix: torch.Tensor = output.reshape(size, output_size, -1)[..., 0].T.contiguous()
    return matrix
