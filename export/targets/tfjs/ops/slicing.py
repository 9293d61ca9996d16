"""Lower ops that select, join or rearrange elements along axes: Slice, Split, Concat, Pad, DepthToSpace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from export.targets.tfjs.graph import (
    NHWC,
    Attrs,
    Graph,
    NodeOutput,
    Tensor,
    UnsupportedOp,
    dtype_attr,
    int_attr,
    row_major,
    string_attr,
)
from export.targets.tfjs.onnx_node import Lowering, OnnxNode, Result
from export.targets.tfjs.ops.shape import permute, reshape

# ONNX writes "to the end of the axis" as an index of about +-2**63.
OPEN_END = 2**30


def lower_concat(node: OnnxNode) -> Tensor:
    """Lower Concat, in the layout of its largest computed operand. Empty operands are left out."""
    rank = len(node.shape)
    present = [value for value in node.operands if value is not None and 0 not in value.shape]
    axis = node.axis(0, rank)
    computed = [value for value in present if isinstance(value, Tensor)]
    # Of equally large operands, one that is not row-major: it comes from a kernel that needs its layout.
    largest = max(computed, key=lambda value: (int(np.prod(value.shape)), value.layout != row_major(rank)))
    operands = [node.graph.to_layout(value, largest.layout) for value in present]
    if len(operands) == 1:
        return node.result(operands[0], largest.layout)
    memory_axis = node.graph.const(np.int32(largest.layout.index(axis)))
    attrs = {"T": dtype_attr(node.dtype), "Tidx": dtype_attr("int32"), "N": int_attr(len(operands))}
    return node.result(node.graph.add("ConcatV2", [*operands, memory_axis], **attrs), largest.layout)


def lower_split(node: OnnxNode) -> Result:
    x = node.tensor()
    axis = node.axis(0, len(x.shape))
    sizes = [shape[axis] for shape in node.output_shapes]
    if len(sizes) == 1:
        return x
    memory_axis = node.graph.const(np.int32(x.layout.index(axis)))
    size_splits = node.graph.const(np.array(sizes, np.int32))
    attrs = {"T": dtype_attr(x.dtype), "Tlen": dtype_attr("int32"), "num_split": int_attr(len(sizes))}
    split, _ = node.graph.add("SplitV", [x.source, size_splits, memory_axis], **attrs)
    return tuple(node.result((split, index), x.layout, index) for index in range(len(sizes)))


def lower_slice(node: OnnxNode) -> Tensor:
    x = node.tensor()
    rank = len(x.shape)
    starts, ends = node.ints(1, "starts"), node.ints(2, "ends")
    axes = node.ints(3, "axes") if node.has(3) else list(range(len(starts)))
    steps = node.ints(4, "steps") if node.has(4) else [1] * len(starts)
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis + rank if axis < 0 else axis
        ranges[axis] = range(*slice(start, slice_end(end, step), step).indices(x.shape[axis]))
    return slice_axes(node.graph, x, ranges)


def slice_end(end: int, step: int) -> int | None:
    """Return the `stop` of a Python slice for an `ends` of ONNX; None for the end of the axis in direction `step`."""
    return None if (step < 0 and end < -OPEN_END) or (step > 0 and end > OPEN_END) else end


def slice_axes(graph: Graph, x: Tensor, ranges: Mapping[int, range]) -> Tensor:
    """Select a range of indices along some logical axes. A descending range is gathered, the others are sliced.

    Raises UnsupportedOp where the result is empty.
    """
    for axis, indices in ranges.items():
        if indices.step < 0:
            x = take(graph, x, axis, list(indices))
    ascending = {axis: indices for axis, indices in ranges.items() if indices.step > 0}
    full = {axis: range(size) for axis, size in enumerate(x.shape)} | ascending
    shape = tuple(len(full[axis]) for axis in range(len(x.shape)))
    if any(size == 0 for size in shape):
        raise UnsupportedOp("selects nothing: an empty tensor")
    if shape == x.shape:
        return x
    begin = graph.const(np.array([full[axis].start for axis in x.layout], np.int32))
    if all(indices.step == 1 for indices in full.values()):
        size = graph.const(np.array([shape[axis] for axis in x.layout], np.int32))
        return Tensor(graph.add("Slice", [x.source, begin, size], **slice_attrs(x.dtype)), shape, x.dtype, x.layout)
    end = graph.const(np.array([full[axis][-1] + 1 for axis in x.layout], np.int32))
    steps = graph.const(np.array([full[axis].step for axis in x.layout], np.int32))
    masks = {f"{name}_mask": int_attr(0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    source = graph.add("StridedSlice", [x.source, begin, end, steps], **slice_attrs(x.dtype), **masks)
    return Tensor(source, shape, x.dtype, x.layout)


def slice_attrs(dtype: str) -> dict[str, Attrs]:
    return {"T": dtype_attr(dtype), "Index": dtype_attr("int32")}


def take(graph: Graph, x: Tensor, axis: int, indices: Sequence[int]) -> Tensor:
    """Gather `indices` along a logical axis, as `numpy.take` does."""
    source = add_gather(graph, x, graph.const(np.array(indices, np.int32)), axis)
    shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
    return Tensor(source, shape, x.dtype, x.layout)


def add_gather(graph: Graph, x: Tensor, indices: NodeOutput, axis: int) -> NodeOutput:
    """Add a GatherV2 along a logical axis. Indices count from the front."""
    types = {"Tparams": dtype_attr(x.dtype), "Tindices": dtype_attr("int32"), "Taxis": dtype_attr("int32")}
    memory_axis = graph.const(np.int32(x.layout.index(axis)))
    return graph.add("GatherV2", [x.source, indices, memory_axis], **types, batch_dims=int_attr(0))


def lower_pad(node: OnnxNode) -> Tensor:
    """Lower Pad. Negative pads slice; `edge` and `wrap` gather; `constant` and `reflect` have kernels."""
    x = node.tensor()
    rank = len(x.shape)
    pads = node.ints(1, "pads")
    axes = node.ints(3, "axes") if node.has(3) else list(range(rank))
    paddings = {axis % rank: (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes)}
    crops = {a: range(max(0, -b), x.shape[a] - max(0, -e)) for a, (b, e) in paddings.items() if b < 0 or e < 0}
    x = slice_axes(node.graph, x, crops)
    paddings = {a: (max(0, b), max(0, e)) for a, (b, e) in paddings.items()}
    if not any(any(both) for both in paddings.values()):
        return x
    mode = node.attr_str("mode", "constant")
    if mode in ("edge", "wrap"):
        for axis, (before, after) in paddings.items():
            if before or after:
                size = x.shape[axis]
                indices = np.arange(-before, size + after)
                indices = np.clip(indices, 0, size - 1) if mode == "edge" else indices % size
                x = take(node.graph, x, axis, indices.tolist())
        return x
    return pad_by_kernel(node, x, paddings, mode)


def pad_by_kernel(node: OnnxNode, x: Tensor, paddings: Mapping[int, tuple[int, int]], mode: str) -> Tensor:
    """Add a MirrorPad or PadV2 node. `paddings` maps a logical axis to (before, after)."""
    rows = node.graph.const(np.array([paddings.get(axis, (0, 0)) for axis in x.layout], np.int32))
    types = {"T": dtype_attr(x.dtype), "Tpaddings": dtype_attr("int32")}
    if mode == "reflect":
        return node.result(
            node.graph.add("MirrorPad", [x.source, rows], **types, mode=string_attr("REFLECT")), x.layout
        )
    if mode != "constant":
        raise UnsupportedOp(f"mode {mode!r}; supported: constant, reflect, edge, wrap")
    fill = np.asarray(node.constant(2, "its fill value")).reshape(()) if node.has(2) else np.zeros(())
    value = node.graph.const(fill.astype(x.dtype))
    return node.result(node.graph.add("PadV2", [x.source, rows, value], **types), x.layout)


def lower_depth_to_space(node: OnnxNode) -> Tensor:
    """Lower DepthToSpace. TF.js's kernel is ONNX's DCR mode; PyTorch's pixel shuffle (CRD) reorders channels first."""
    x, block = node.tensor(), int(node.attrs["blocksize"])
    if node.attr_str("mode", "DCR") == "CRD":
        channels = np.arange(x.shape[1]).reshape(-1, block * block).T.reshape(-1)
        if not np.array_equal(channels, np.arange(x.shape[1])):
            nhwc = Tensor(node.graph.to_layout(x, NHWC), x.shape, x.dtype, NHWC)
            x = take(node.graph, nhwc, 1, channels.tolist())
    source = node.graph.to_layout(x, NHWC)
    attrs = {"T": dtype_attr(x.dtype), "block_size": int_attr(block), "data_format": string_attr("NHWC")}
    return node.result(node.graph.add("DepthToSpace", [source], **attrs), NHWC)


def lower_space_to_depth(node: OnnxNode) -> Tensor:
    """Lower SpaceToDepth as reshape, permute, reshape."""
    x, block = node.tensor(), int(node.attrs["blocksize"])
    n, c, h, w = x.shape
    blocks = reshape(node.graph, x, (n, c, h // block, block, w // block, block))
    return reshape(node.graph, permute(blocks, (0, 3, 5, 1, 2, 4)), node.shape)


LOWERINGS: dict[str, Lowering] = {
    "Concat": lower_concat,
    "Split": lower_split,
    "Slice": lower_slice,
    "Pad": lower_pad,
    "DepthToSpace": lower_depth_to_space,
    "SpaceToDepth": lower_space_to_depth,
}
