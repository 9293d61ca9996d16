"""Lower Resize to TF.js's two kernels, or to gathers and matrix products.

The kernels are used where they sample exactly the points that PyTorch samples. Every other case (odd ratios, cubic,
antialias) is lowered to gathers (nearest) or to two matrix products (linear and cubic).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.targets.tfjs.graph import NHWC, NodeOutput, Tensor, UnsupportedOp, bool_attr, dtype_attr
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.convolution import from_2d
from export.targets.tfjs.ops.shape import reshape
from export.targets.tfjs.ops.slicing import take

Matrix = NDArray[np.float64]


def lower_resize(node: OnnxNode) -> Tensor:
    """Lower Resize of one or two spatial axes."""
    x = node.tensor()
    if len(x.shape) not in (3, 4) or node.shape[:2] != x.shape[:2]:
        raise UnsupportedOp("resizes batch or channels, or more than two spatial axes")
    is_1d = len(x.shape) == 3
    mode = node.attr_str("mode", "nearest")
    grids = [sampling_grid(node, x, axis) for axis in range(2, len(x.shape))]
    if mode == "nearest":
        return nearest(node, x, grids)
    by_kernel = bilinear_kernel(node, x)
    if by_kernel is not None:
        return by_kernel
    x = reshape(node.graph, x, (*x.shape[:2], 1, x.shape[2])) if is_1d else x
    rows, columns = [np.eye(1)] * is_1d + [interpolation_matrix(node, grid, mode) for grid in grids]
    return from_2d(node, multiply_axes(node, x, rows, columns))


@dataclass(frozen=True, slots=True)
class Grid:
    """Where one axis is sampled: the input coordinate of each output index, the ratio out / in, and the input size."""

    points: Matrix
    scale: float
    size: int


def sampling_grid(node: OnnxNode, x: Tensor, axis: int) -> Grid:
    """Apply ONNX's coordinate transformation. Operand 2, where given, holds the exact ratios of the call."""
    input_size, output_size = x.shape[axis], node.shape[axis]
    scale = output_size / input_size
    if node.has(2) and node.operand(2).shape[0] > 0:
        scales = np.asarray(node.constant(2, "its scales")).reshape(-1)
        axes = [a % len(x.shape) for a in node.attr("axes", range(len(x.shape)))]
        # ONNX stores a float32; PyTorch was called with the shortest decimal that rounds to it.
        scale = float(str(scales[axes.index(axis)])) if axis in axes else 1.0
    index = np.arange(output_size, dtype=np.float64)
    transformation = node.attr_str("coordinate_transformation_mode", "half_pixel")
    if transformation == "align_corners":
        points = index * (input_size - 1) / (output_size - 1) if output_size > 1 else np.zeros(1)
    elif transformation == "asymmetric":
        # In float32, as PyTorch multiplies: the last bit decides on which side of an integer a point lies.
        points = (index.astype(np.float32) * np.float32(1.0 / scale)).astype(np.float64)
    elif transformation in ("half_pixel", "pytorch_half_pixel"):
        points = (index + 0.5) / scale - 0.5
        points = np.zeros(1) if transformation == "pytorch_half_pixel" and output_size == 1 else points
    else:
        raise UnsupportedOp(f"coordinate_transformation_mode {transformation!r}")
    return Grid(points, scale, input_size)


def nearest(node: OnnxNode, x: Tensor, grids: list[Grid]) -> Tensor:
    """Resize by ResizeNearestNeighbor for whole-number ratios, else by one gather per axis."""
    mode = node.attr_str("nearest_mode", "round_prefer_floor")
    rounding: dict[str, Callable[[Matrix], Matrix]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - 0.5 - 1e-6),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5 + 1e-6),
    }
    if mode not in rounding:
        raise UnsupportedOp(f"nearest_mode {mode!r}")
    indices = [np.clip(rounding[mode](grid.points), 0, grid.size - 1).astype(int) for grid in grids]
    if len(indices) == 2 and all(repeats(*axis) for axis in zip(indices, node.shape[2:], grids, strict=True)):
        source = add_resize(node, "ResizeNearestNeighbor", x, align_corners=False, half_pixel_centers=False)
        return node.result(source, NHWC)
    for axis, rows in enumerate(indices, start=2):
        if not np.array_equal(rows, np.arange(x.shape[axis])):
            x = take(node.graph, x, axis, rows.tolist())
    return x


def repeats(indices: NDArray[np.int_], output_size: int, grid: Grid) -> bool:
    """Return whether each input index is taken the same whole number of times; then all kernels agree."""
    ratio, rest = divmod(output_size, grid.size)
    return rest == 0 and np.array_equal(indices, np.repeat(np.arange(grid.size), ratio))


def add_resize(node: OnnxNode, op: str, x: Tensor, align_corners: bool, half_pixel_centers: bool) -> NodeOutput:
    """Add one of TF.js's two resize kernels."""
    size = node.graph.const(np.array(node.shape[2:], np.int32))
    flags = {"align_corners": bool_attr(align_corners), "half_pixel_centers": bool_attr(half_pixel_centers)}
    return node.graph.add(op, [node.graph.to_layout(x, NHWC), size], T=dtype_attr("float32"), **flags)


def bilinear_kernel(node: OnnxNode, x: Tensor) -> Tensor | None:
    """Resize by ResizeBilinear, or return None where it samples other points: it derives the ratio from the sizes."""
    input_size, output_size = x.shape[2:], node.shape[2:]
    if node.attr_str("mode", "nearest") != "linear" or node.attr("antialias", 0) or len(input_size) != 2:
        return None
    exact = all(
        abs(sampling_grid(node, x, axis).scale * input_size[axis - 2] - output_size[axis - 2]) < 1e-6 for axis in (2, 3)
    )
    transformation = node.attr_str("coordinate_transformation_mode", "half_pixel")
    corners = transformation == "align_corners" and min(output_size) > 1
    asymmetric = transformation == "asymmetric" and exact
    centers = transformation in ("half_pixel", "pytorch_half_pixel") and exact and min(output_size) > 1
    if not (corners or asymmetric or centers):
        return None
    return node.result(add_resize(node, "ResizeBilinear", x, corners, centers), NHWC)


def interpolation_matrix(node: OnnxNode, grid: Grid, mode: str) -> Matrix:
    """Return the (output, input) weight of each input element for each output element of an axis. Rows sum to 1."""
    slope = float(node.attr("cubic_coeff_a", -0.75))
    antialias = bool(node.attr("antialias", 0))
    shrink = min(1.0, grid.scale) if antialias else 1.0
    if mode not in ("linear", "cubic"):
        raise UnsupportedOp(f"mode {mode!r}; supported: nearest, linear, cubic")
    support = (1.0 if mode == "linear" else 2.0) / shrink
    matrix = np.zeros((grid.points.size, grid.size))
    for row, point in enumerate(grid.points):
        taps = np.arange(np.floor(point - support) + 1, np.ceil(point + support))
        distance = np.abs(taps - point) * shrink
        weight = np.maximum(1 - distance, 0) if mode == "linear" else cubic(distance, slope)
        if antialias:
            # As Pillow and PyTorch do: taps outside the input are left out, and the others are rescaled.
            inside = (taps >= 0) & (taps < grid.size)
            taps, weight = taps[inside], weight[inside]
        np.add.at(matrix[row], np.clip(taps, 0, grid.size - 1).astype(int), weight / weight.sum())
    return matrix


def cubic(distance: Matrix, slope: float) -> Matrix:
    """Return the cubic convolution kernel of Keys (1981), whose parameter a is `slope`."""
    near = (slope + 2) * distance**3 - (slope + 3) * distance**2 + 1
    far = slope * distance**3 - 5 * slope * distance**2 + 8 * slope * distance - 4 * slope
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def multiply_axes(node: OnnxNode, x: Tensor, rows: Matrix, columns: Matrix) -> NodeOutput:
    """Return rows @ x @ columns.T for every channel, in NHWC."""
    batch, channels, height, width = x.shape
    graph = node.graph
    output_height, output_width = rows.shape[0], columns.shape[0]
    # The width first: one product per row of pixels.
    source = graph.add_reshape(graph.to_layout(x, NHWC), (batch * height, width, channels), "float32")
    source = multiply_left(node, columns, source)
    source = graph.add_reshape(source, (batch, height, output_width * channels), "float32")
    source = multiply_left(node, rows, source)
    return graph.add_reshape(source, (batch, output_height, output_width, channels), "float32")


def multiply_left(node: OnnxNode, matrix: Matrix, x: NodeOutput) -> NodeOutput:
    """Return matrix @ x[i] for each i. The matrix is no weight of the net: recipes leave it uncompressed."""
    left = node.graph.const(matrix.astype(np.float32)[None])
    flags = {"adj_x": bool_attr(False), "adj_y": bool_attr(False)}
    return node.graph.add("BatchMatMulV2", [left, x], T=dtype_attr("float32"), **flags)


LOWERINGS: dict[str, Lowering] = {"Resize": lower_resize, "Upsample": lower_resize}
