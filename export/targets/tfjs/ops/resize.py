"""Resize. TF.js's two kernels are used where they sample exactly the points that PyTorch samples; every other
case (odd ratios, cubic, antialias) is spelled out: nearest as a gather, the linear ones as two matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import NHWC, Ref, Unsupported, Wire, a_bool, a_type
from export.targets.tfjs.ops.convolution import lowered
from export.targets.tfjs.ops.shape import reshape, take

Weights = NDArray[np.float64]


def resize(call: Call) -> Ref:
    x = call.ref()
    if len(x.shape) not in (3, 4) or call.shapes[0][:2] != x.shape[:2]:
        raise Unsupported("resizes batch or channels, or more than two spatial axes")
    flat = len(x.shape) == 3
    mode = call.text("mode", "nearest")
    maps = [axis_map(call, x, axis) for axis in range(2, len(x.shape))]
    if mode == "nearest":
        return nearest(call, x, maps)
    made = linear_kernel(call, x)
    if made is not None:
        return made
    x = reshape(call.graph, x, (*x.shape[:2], 1, x.shape[2])) if flat else x
    rows = [np.eye(1)] * flat + [weights(call, grid, mode) for grid in maps]
    return lowered(call, products(call, x, rows[0], rows[1]), flat)


@dataclass(frozen=True, slots=True)
class Grid:
    """One axis: the source coordinate of each output place, the ratio out / in, and the number of source places."""

    points: Weights
    scale: float
    size: int


def axis_map(call: Call, x: Ref, axis: int) -> Grid:
    """ONNX's coordinate transformations. `scales`, where given, are the exact ratios PyTorch was told."""
    size, made = x.shape[axis], call.shapes[0][axis]
    scale = made / size
    if call.has(2) and call.value(2).shape[0] > 0:
        given = np.asarray(call.known(2, "its scales")).reshape(-1)
        axes = [a % len(x.shape) for a in call.attr("axes", range(len(x.shape)))]
        # ONNX holds a float32; the number PyTorch was told is the short decimal that rounds to it.
        scale = float(str(given[axes.index(axis)])) if axis in axes else 1.0
    place = np.arange(made, dtype=np.float64)
    way = call.text("coordinate_transformation_mode", "half_pixel")
    if way == "align_corners":
        points = place * (size - 1) / (made - 1) if made > 1 else np.zeros(1)
    elif way == "asymmetric":
        # In float32, as PyTorch multiplies: the last bit decides which side of a whole number a point is on.
        points = (place.astype(np.float32) * np.float32(1.0 / scale)).astype(np.float64)
    elif way in ("half_pixel", "pytorch_half_pixel"):
        points = (place + 0.5) / scale - 0.5
        points = np.zeros(1) if way == "pytorch_half_pixel" and made == 1 else points
    else:
        raise Unsupported(f"coordinate_transformation_mode {way!r}")
    return Grid(points, scale, size)


def nearest(call: Call, x: Ref, maps: list[Grid]) -> Ref:
    how = call.text("nearest_mode", "round_prefer_floor")
    rounding: dict[str, Callable[[Weights], Weights]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda p: np.ceil(p - 0.5 - 1e-6),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5 + 1e-6),
    }
    if how not in rounding:
        raise Unsupported(f"nearest_mode {how!r}")
    rows = [np.clip(rounding[how](grid.points), 0, grid.size - 1).astype(int) for grid in maps]
    size = call.shapes[0][2:]
    if len(rows) == 2 and all(repeats(*axis) for axis in zip(rows, size, maps, strict=True)):
        return call.made(sampled(call, "ResizeNearestNeighbor", x, corners=False, centres=False), NHWC)
    for axis, picks in enumerate(rows, start=2):
        if not np.array_equal(picks, np.arange(x.shape[axis])):
            x = take(call.graph, x, axis, picks.tolist())
    return x


def repeats(picks: NDArray[np.int_], made: int, grid: Grid) -> bool:
    """Whether each source place is taken the same whole number of times: the case in which all kernels agree."""
    return made % grid.size == 0 and np.array_equal(picks, np.repeat(np.arange(grid.size), made // grid.size))


def sampled(call: Call, op: str, x: Ref, corners: bool, centres: bool) -> Wire:
    size = call.graph.const(np.array(call.shapes[0][2:], np.int32))
    flags = {"align_corners": a_bool(corners), "half_pixel_centers": a_bool(centres)}
    return call.graph.add(op, [call.graph.lay(x, NHWC), size], T=a_type("float32"), **flags)


def linear_kernel(call: Call, x: Ref) -> Ref | None:
    """ResizeBilinear, where it samples the same points; it derives the ratio from the sizes alone."""
    size, made = x.shape[2:], call.shapes[0][2:]
    if call.text("mode", "nearest") != "linear" or call.attr("antialias", 0) or len(size) != 2:
        return None
    way = call.text("coordinate_transformation_mode", "half_pixel")
    exact = all(abs(axis_map(call, x, a).scale * size[a - 2] - made[a - 2]) < 1e-6 for a in (2, 3))
    if way == "align_corners" and min(made) > 1:
        return call.made(sampled(call, "ResizeBilinear", x, corners=True, centres=False), NHWC)
    if way == "asymmetric" and exact:
        return call.made(sampled(call, "ResizeBilinear", x, corners=False, centres=False), NHWC)
    if way in ("half_pixel", "pytorch_half_pixel") and exact and min(made) > 1:
        return call.made(sampled(call, "ResizeBilinear", x, corners=False, centres=True), NHWC)
    return None


def weights(call: Call, grid: Grid, mode: str) -> Weights:
    """(made, size): how much each input place adds to each output place; rows sum to 1."""
    slope = float(call.attr("cubic_coeff_a", -0.75))
    shrink = min(1.0, grid.scale) if call.attr("antialias", 0) else 1.0
    if mode not in ("linear", "cubic"):
        raise Unsupported(f"mode {mode!r}; supported: nearest, linear, cubic")
    reach = (1.0 if mode == "linear" else 2.0) / shrink
    table = np.zeros((grid.points.size, grid.size))
    for row, point in enumerate(grid.points):
        taps = np.arange(np.floor(point - reach) + 1, np.ceil(point + reach))
        distance = np.abs(taps - point) * shrink
        force = np.maximum(1 - distance, 0) if mode == "linear" else cubic(distance, slope)
        if call.attr("antialias", 0):
            # Pillow's and PyTorch's way: taps outside are left out, the others share their part.
            inside = (taps >= 0) & (taps < grid.size)
            taps, force = taps[inside], force[inside]
        np.add.at(table[row], np.clip(taps, 0, grid.size - 1).astype(int), force / force.sum())
    return table


def cubic(distance: Weights, slope: float) -> Weights:
    """Keys' kernel."""
    near = (slope + 2) * distance**3 - (slope + 3) * distance**2 + 1
    far = slope * distance**3 - 5 * slope * distance**2 + 8 * slope * distance - 4 * slope
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def products(call: Call, x: Ref, rows: Weights, columns: Weights) -> Wire:
    """rows . x . columns for every channel, in memory order N, H, W, C."""
    batch, channels, height, width = x.shape
    graph = call.graph
    made_height, made_width = rows.shape[0], columns.shape[0]
    flags = {"adj_x": a_bool(False), "adj_y": a_bool(False)}
    # The widths first, one product for each row of pixels.
    wire = graph.reshaped(graph.lay(x, NHWC), (batch * height, width, channels), "float32")
    wire = broadcast_product(call, columns, wire, batch * height, flags)
    wire = graph.reshaped(wire, (batch, height, made_width * channels), "float32")
    wire = broadcast_product(call, rows, wire, batch, flags)
    return graph.reshaped(wire, (batch, made_height, made_width, channels), "float32")


def broadcast_product(call: Call, table: Weights, x: Wire, batch: int, flags: dict[str, dict[str, bool]]) -> Wire:
    """table . x[i] for each i. The table is not a weight of the net: recipes leave it as it is."""
    matrix = call.graph.const(table.astype(np.float32)[None])
    return call.graph.add("BatchMatMulV2", [matrix, x], T=a_type("float32"), **flags)


HANDLERS: dict[str, Handler] = {"Resize": resize, "Upsample": resize}
