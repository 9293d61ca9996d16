"""Lower gathers and scatters."""

from __future__ import annotations

import numpy as np

from export.targets.tfjs.graph import (
    Array,
    Constant,
    NodeOutput,
    Tensor,
    UnsupportedOp,
    Value,
    dtype_attr,
    int_attr,
    row_major,
)
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.slicing import add_gather, take


def lower_gather(node: OnnxNode) -> Tensor:
    """Lower Gather. In the result, the axes of the indices replace the axis that they index."""
    x, indices = node.tensor(), node.operand(1)
    axis, rank = node.axis(0, len(x.shape)), len(indices.shape)
    layout: list[int] = []
    for old in x.layout:
        if old == axis:
            layout += range(axis, axis + rank)
        else:
            layout.append(old if old < axis else old + rank - 1)
    source = add_gather(node.graph, x, nonnegative(node, indices, x.shape[axis]), axis)
    return node.result(source, tuple(layout))


def nonnegative(node: OnnxNode, indices: Value, size: int | Array) -> NodeOutput:
    """Return `indices` counted from the front, row-major. TF.js has no negative indices, ONNX counts from the end.

    Computed indices are not corrected.
    """
    if isinstance(indices, Constant):
        return node.graph.const(np.where(indices.value < 0, indices.value + size, indices.value))
    return node.graph.to_layout(indices, row_major(len(indices.shape)))


def lower_gather_nd(node: OnnxNode) -> Tensor:
    x, indices = node.tensor(), node.operand(1)
    if node.attr("batch_dims", 0):
        raise UnsupportedOp("has batch_dims; supported: 0")
    source = node.graph.to_layout(x, row_major(len(x.shape)))
    coordinates = nonnegative(node, indices, np.array(x.shape[: indices.shape[-1]]))
    types = {"Tparams": dtype_attr(x.dtype), "Tindices": dtype_attr("int32")}
    return node.result(node.graph.add("GatherNd", [source, coordinates], **types), row_major(len(node.shape)))


def lower_gather_elements(node: OnnxNode) -> Tensor:
    """Lower GatherElements to GatherNd: each index becomes a full coordinate."""
    x, indices = node.tensor(), node.operand(1)
    axis, rank = node.axis(0, len(x.shape)), len(x.shape)
    grid = np.moveaxis(np.indices(indices.shape), 0, -1).astype(np.int32)
    if isinstance(indices, Constant):
        grid[..., axis] = np.where(indices.value < 0, indices.value + x.shape[axis], indices.value)
        coordinates = node.graph.const(grid)
    else:
        # aten.gather has no negative indices, so computed indices need no correction.
        row_major_indices = node.graph.to_layout(indices, row_major(rank))
        column = node.graph.add_reshape(row_major_indices, (*indices.shape, 1), "int32")
        parts = [node.graph.const(grid[..., :axis]), column, node.graph.const(grid[..., axis + 1 :])]
        coordinates = concat_last(
            node, [part for part, width in zip(parts, (axis, 1, rank - axis - 1), strict=True) if width]
        )
    types = {"Tparams": dtype_attr(x.dtype), "Tindices": dtype_attr("int32")}
    source = node.graph.add("GatherNd", [node.graph.to_layout(x, row_major(rank)), coordinates], **types)
    return node.result(source, row_major(len(node.shape)))


def concat_last(node: OnnxNode, parts: list[NodeOutput]) -> NodeOutput:
    """Concatenate int32 tensors along their last axis."""
    if len(parts) == 1:
        return parts[0]
    attrs = {"T": dtype_attr("int32"), "Tidx": dtype_attr("int32"), "N": int_attr(len(parts))}
    return node.graph.add("ConcatV2", [*parts, node.graph.const(np.int32(-1))], **attrs)


def lower_scatter_nd(node: OnnxNode) -> Tensor:
    reduction = node.attr_str("reduction", "none")
    if reduction != "none":
        raise UnsupportedOp(f"reduction {reduction!r}; supported: none")
    values = [node.operand(index) for index in range(3)]
    operands = [node.graph.to_layout(value, row_major(len(value.shape))) for value in values]
    types = {"T": dtype_attr(node.dtype), "Tindices": dtype_attr("int32")}
    return node.result(node.graph.add("TensorScatterUpdate", operands, **types), row_major(len(node.shape)))


def lower_reverse_sequence(node: OnnxNode) -> Tensor:
    """Lower ReverseSequence over a whole axis, which is how some exporters write a flip."""
    x = node.tensor()
    lengths = node.constant(1, "its lengths")
    axis = int(node.attr("time_axis", 0))
    if not np.all(lengths == x.shape[axis]):
        raise UnsupportedOp("reverses parts of an axis; supported: whole axes")
    return take(node.graph, x, axis, list(range(x.shape[axis]))[::-1])


def lower_trilu(node: OnnxNode) -> Tensor:
    """Lower Trilu, which zeroes the elements below or above a diagonal, to a product with a mask."""
    x = node.tensor()
    offset = node.ints(1, "k")[0] if node.has(1) else 0
    ones = np.ones(x.shape[-2:], np.float32)
    mask = Constant(np.triu(ones, offset) if node.attr("upper", 1) else np.tril(ones, offset), "mask")
    operands, layout = node.graph.broadcast([x, mask], len(x.shape))
    return node.result(node.float_op("Mul", *operands), layout)


LOWERINGS: dict[str, Lowering] = {
    "Gather": lower_gather,
    "GatherND": lower_gather_nd,
    "GatherElements": lower_gather_elements,
    "ScatterND": lower_scatter_nd,
    "ReverseSequence": lower_reverse_sequence,
    "Trilu": lower_trilu,
}
