"""Lower ops that change the shape or dtype of a tensor. Most of them only change its logical shape and layout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.targets.tfjs.graph import Constant, Graph, Layout, Shape, Tensor, dtype_attr, row_major
from export.targets.tfjs.onnx_node import Lowering, OnnxNode, Result


def reshape(graph: Graph, x: Tensor, shape: Shape) -> Tensor:
    """Return `x` with another logical shape.

    Axes that are split or merged cost no Transpose where they are neighbours in memory.
    """
    if shape == x.shape:
        return x
    layout = layout_after_reshape(x, shape)
    if layout is None:
        source, layout = graph.to_layout(x, row_major(len(x.shape))), row_major(len(shape))
    else:
        source = x.source
    memory_shape = tuple(shape[axis] for axis in layout)
    return Tensor(graph.add_reshape(source, memory_shape, x.dtype), shape, x.dtype, layout)


def layout_after_reshape(x: Tensor, shape: Shape) -> Layout | None:
    """Return the layout of the reshaped tensor if its memory stays as it is; None where it has to be transposed."""
    groups = axis_groups(x.shape, shape)
    group_of = {axis: number for number, (old_axes, _) in enumerate(groups) for axis in old_axes}
    memory_axes = [axis for axis in x.layout if x.shape[axis] > 1]
    visited: list[int] = []
    for position, axis in enumerate(memory_axes):
        number = group_of[axis]
        if visited and visited[-1] == number:
            if memory_axes[position - 1] > axis:
                return None  # the axes of a group are swapped in memory
        elif number in visited:
            return None  # the axes of a group are not neighbours in memory
        else:
            visited.append(number)
    # Groups of axes of size 1 may lie anywhere. They stay in place where the result is row-major then.
    empty = [number for number in range(len(groups)) if number not in visited]
    sequence = sorted(empty + visited) if visited == sorted(visited) else empty + visited
    return tuple(axis for number in sequence for axis in groups[number][1])


def axis_groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Pair the smallest runs of old and new axes with equal numbers of elements.

    (2, 12, 5) reshaped to (2, 3, 4, 5) gives ([0], [0]), ([1], [1, 2]), ([2], [3]).
    """
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        old_axes: list[int] = []
        new_axes: list[int] = []
        old_size = new_size = 1
        if i < len(old):
            old_axes.append(i)
            old_size *= old[i]
            i += 1
        while old_size != new_size or not new_axes:
            if (old_size > new_size or not new_axes) and j < len(new):
                new_axes.append(j)
                new_size *= new[j]
                j += 1
            elif old_size < new_size and i < len(old):
                old_axes.append(i)
                old_size *= old[i]
                i += 1
            else:
                break
        groups.append((old_axes, new_axes))
    return groups


def permute(x: Tensor, permutation: Sequence[int]) -> Tensor:
    """Return `x` with its logical axes permuted, as `torch.permute` does. Memory stays as it is."""
    shape = tuple(x.shape[axis] for axis in permutation)
    return Tensor(x.source, shape, x.dtype, tuple(permutation.index(axis) for axis in x.layout))


def lower_reshape(node: OnnxNode) -> Tensor:
    """Lower Reshape, Flatten, Squeeze and Unsqueeze: the ONNX graph states the shape of the output."""
    return reshape(node.graph, node.tensor(), node.shape)


def lower_transpose(node: OnnxNode) -> Tensor:
    x = node.tensor()
    return permute(x, [int(axis) for axis in node.attr("perm", range(len(x.shape))[::-1])])


def lower_expand(node: OnnxNode) -> Tensor:
    x, shape = node.graph.expand_rank(node.tensor(), len(node.shape)), node.shape
    assert isinstance(x, Tensor)
    return tile(node.graph, x, tuple(1 if old == new else new for old, new in zip(x.shape, shape, strict=True)))


def lower_tile(node: OnnxNode) -> Tensor:
    return tile(node.graph, node.tensor(), tuple(node.ints(1, "repeats")))


def tile(graph: Graph, x: Tensor, repeats: Shape) -> Tensor:
    """Repeat `x` along its logical axes."""
    if all(count == 1 for count in repeats):
        return x
    multiples = graph.const(np.array([repeats[axis] for axis in x.layout], np.int32))
    source = graph.add("Tile", [x.source, multiples], T=dtype_attr(x.dtype), Tmultiples=dtype_attr("int32"))
    shape = tuple(size * count for size, count in zip(x.shape, repeats, strict=True))
    return Tensor(source, shape, x.dtype, x.layout)


def lower_cast(node: OnnxNode) -> Tensor:
    x = node.tensor()
    if node.dtype == x.dtype:
        return x
    source = node.graph.add("Cast", [x.source], SrcT=dtype_attr(x.dtype), DstT=dtype_attr(node.dtype))
    return node.result(source, x.layout)


def lower_identity(node: OnnxNode) -> Result:
    return node.operand(0)


def lower_shape(node: OnnxNode) -> Constant:
    """Lower Shape and Size to a constant: shapes are static."""
    shape = np.array(node.tensor().shape, np.int64)[int(node.attr("start", 0)) : node.attrs.get("end")]
    return Constant(shape if node.op_type == "Shape" else np.array(shape.prod()), node.graph.scope)


LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), lower_reshape),
    **dict.fromkeys(("Identity", "Dropout"), lower_identity),
    **dict.fromkeys(("Shape", "Size"), lower_shape),
    **dict.fromkeys(("Cast", "CastLike"), lower_cast),
    "Transpose": lower_transpose,
    "Expand": lower_expand,
    "Tile": lower_tile,
}
