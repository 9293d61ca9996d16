"""Gathers and scatters."""

from __future__ import annotations

import numpy as np

from export.targets.tfjs.call import Call, Handler, axis_of
from export.targets.tfjs.graph import Array, Fixed, Ref, Unsupported, Value, Wire, a_int, a_type, plain
from export.targets.tfjs.ops.shape import gathered, take


def gather(call: Call) -> Ref:
    """Gather: the axes of the indices take the place of the axis they index."""
    x, rows = call.ref(), call.value(1)
    axis, rank = axis_of(call, 0, len(x.shape)), len(rows.shape)
    order: list[int] = []
    for old in x.order:
        shifted = old if old < axis else old + rank - 1
        order += range(axis, axis + rank) if old == axis else [shifted]
    wire = gathered(call.graph, x.wire, positive(call, rows, x.shape[axis]), x.order.index(axis), x.dtype)
    return call.made(wire, tuple(order))


def positive(call: Call, rows: Value, size: int | Array) -> Wire:
    """Indices from the front. ONNX counts negative ones from the end, TF.js does not know them."""
    if isinstance(rows, Fixed):
        return call.graph.const(np.where(rows.value < 0, rows.value + size, rows.value))
    return call.graph.lay(rows, plain(len(rows.shape)))


def gather_nd(call: Call) -> Ref:
    x, rows = call.ref(), call.value(1)
    if call.attr("batch_dims", 0):
        raise Unsupported("has batch_dims; supported: 0")
    source = call.graph.lay(x, plain(len(x.shape)))
    places = positive(call, rows, np.array(x.shape[: rows.shape[-1]]))
    types = {"Tparams": a_type(x.dtype), "Tindices": a_type("int32")}
    return call.made(call.graph.add("GatherNd", [source, places], **types), plain(len(call.shapes[0])))


def gather_elements(call: Call) -> Ref:
    """Along one axis: each index becomes a full coordinate."""
    x, rows = call.ref(), call.value(1)
    axis, rank = axis_of(call, 0, len(x.shape)), len(x.shape)
    coordinates = np.moveaxis(np.indices(rows.shape), 0, -1).astype(np.int32)
    if isinstance(rows, Fixed):
        coordinates[..., axis] = np.where(rows.value < 0, rows.value + x.shape[axis], rows.value)
        places = call.graph.const(coordinates)
    else:
        # PyTorch's gather has no negative indices, so those computed at run time need no correction.
        column = call.graph.reshaped(call.graph.lay(rows, plain(rank)), (*rows.shape, 1), "int32")
        parts = [call.graph.const(coordinates[..., :axis]), column, call.graph.const(coordinates[..., axis + 1 :])]
        places = joined(call, [part for part, width in zip(parts, (axis, 1, rank - axis - 1), strict=True) if width])
    types = {"Tparams": a_type(x.dtype), "Tindices": a_type("int32")}
    wire = call.graph.add("GatherNd", [call.graph.lay(x, plain(rank)), places], **types)
    return call.made(wire, plain(len(call.shapes[0])))


def joined(call: Call, parts: list[Wire]) -> Wire:
    """Integer tensors side by side along the last axis."""
    if len(parts) == 1:
        return parts[0]
    attrs = {"T": a_type("int32"), "Tidx": a_type("int32"), "N": a_int(len(parts))}
    return call.graph.add("ConcatV2", [*parts, call.graph.const(np.int32(-1))], **attrs)


def scatter_nd(call: Call) -> Ref:
    if call.text("reduction", "none") != "none":
        raise Unsupported(f"reduction {call.text('reduction', 'none')!r}; supported: none")
    values = [call.value(index) for index in range(3)]
    wires = [call.graph.lay(value, plain(len(value.shape))) for value in values]
    types = {"T": a_type(call.dtypes[0]), "Tindices": a_type("int32")}
    return call.made(call.graph.add("TensorScatterUpdate", wires, **types), plain(len(call.shapes[0])))


def reverse_rows(call: Call) -> Ref:
    """ReverseSequence over whole axes is how flips arrive from some exporters."""
    x = call.ref()
    lengths = call.known(1, "its lengths")
    axis = int(call.attr("time_axis", 0))
    if not np.all(lengths == x.shape[axis]):
        raise Unsupported("reverses parts of an axis; supported: whole axes")
    return take(call.graph, x, axis, list(range(x.shape[axis]))[::-1])


def triangle(call: Call) -> Ref:
    """Trilu: the part above or below a diagonal, the rest 0."""
    x = call.ref()
    offset = call.ints(1, "k")[0] if call.has(1) else 0
    ones = np.ones(x.shape[-2:], np.float32)
    mask = Fixed(np.triu(ones, offset) if call.attr("upper", 1) else np.tril(ones, offset), "mask")
    wires, order = call.graph.together([x, mask], len(x.shape))
    return call.made(call.float_op("Mul", *wires), order)


HANDLERS: dict[str, Handler] = {
    "Gather": gather,
    "GatherND": gather_nd,
    "GatherElements": gather_elements,
    "ScatterND": scatter_nd,
    "ReverseSequence": reverse_rows,
    "Trilu": triangle,
}
