"""Ops that move or copy values: most of them only change the note about shape and order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.targets.tfjs.call import Call, Handler, Result, axis_of
from export.targets.tfjs.graph import (
    DTYPES,
    NHWC,
    Fixed,
    Graph,
    Order,
    Ref,
    Shape,
    Unsupported,
    Wire,
    a_int,
    a_text,
    a_type,
    plain,
)


def reshape(graph: Graph, x: Ref, shape: Shape) -> Ref:
    """`x` with another logical shape. Splitting or merging axes that are neighbours in memory costs no Transpose."""
    if shape == x.shape:
        return x
    order = reshaped_order(x, shape)
    if order is None:
        wire, order = graph.lay(x, plain(len(x.shape))), plain(len(shape))
    else:
        wire = x.wire
    memory = tuple(shape[axis] for axis in order)
    return Ref(graph.reshaped(wire, memory, x.dtype), shape, x.dtype, order)


def reshaped_order(x: Ref, shape: Shape) -> Order | None:
    """The memory order of the reshaped value when memory can stay as it is, else None."""
    groups = axis_groups(x.shape, shape)
    member = {axis: number for number, (sources, _) in enumerate(groups) for axis in sources}
    walk = [axis for axis in x.order if x.shape[axis] > 1]
    visited: list[int] = []
    for position, axis in enumerate(walk):
        number = member[axis]
        if visited and visited[-1] == number:
            if walk[position - 1] > axis:
                return None
        elif number in visited:
            return None
        else:
            visited.append(number)
    empty = [number for number in range(len(groups)) if number not in visited]
    # Groups of ones lie nowhere in particular; kept in place where that gives PyTorch's own order.
    sequence = sorted(empty + visited) if visited == sorted(visited) else empty + visited
    return tuple(axis for number in sequence for axis in groups[number][1])


def axis_groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of old axes and new axes that hold the same number of values."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        sources: list[int] = []
        targets: list[int] = []
        left = right = 1
        if i < len(old):
            sources.append(i)
            left *= old[i]
            i += 1
        while left != right or not targets:
            if (left > right or not targets) and j < len(new):
                targets.append(j)
                right *= new[j]
                j += 1
            elif left < right and i < len(old):
                sources.append(i)
                left *= old[i]
                i += 1
            else:
                break
        groups.append((sources, targets))
    return groups


def as_shaped(call: Call) -> Ref:
    """Reshape, Flatten, Squeeze, Unsqueeze: the ONNX graph states the resulting shape."""
    return reshape(call.graph, call.ref(), call.shapes[0])


def transpose(call: Call) -> Ref:
    x = call.ref()
    perm = [int(axis) for axis in call.attr("perm", range(len(x.shape))[::-1])]
    return Ref(x.wire, call.shapes[0], x.dtype, tuple(perm.index(axis) for axis in x.order))


def concat(call: Call) -> Ref:
    rank = len(call.shapes[0])
    present = [value for value in call.inputs if value is not None and 0 not in value.shape]
    axis = axis_of(call, 0, rank)
    computed = [value for value in present if isinstance(value, Ref)]
    best = max(computed, key=lambda value: (int(np.prod(value.shape)), value.order != plain(rank)))
    wires = [call.graph.lay(value, best.order) for value in present]
    if len(wires) == 1:
        return call.made(wires[0], best.order)
    place = call.graph.const(np.int32(best.order.index(axis)))
    attrs = {"T": a_type(call.dtypes[0]), "Tidx": a_type("int32"), "N": a_int(len(wires))}
    return call.made(call.graph.add("ConcatV2", [*wires, place], **attrs), best.order)


def split(call: Call) -> Result:
    x = call.ref()
    axis = axis_of(call, 0, len(x.shape))
    sizes = [shape[axis] for shape in call.shapes]
    if len(sizes) == 1:
        return x
    place = call.graph.const(np.int32(x.order.index(axis)))
    parts = call.graph.const(np.array(sizes, np.int32))
    attrs = {"T": a_type(x.dtype), "Tlen": a_type("int32"), "num_split": a_int(len(sizes))}
    node, _ = call.graph.add("SplitV", [x.wire, parts, place], **attrs)
    return tuple(call.made((node, index), x.order, index) for index in range(len(sizes)))


def sliced(call: Call) -> Ref:
    x = call.ref()
    rank = len(x.shape)
    starts, ends = call.ints(1, "starts"), call.ints(2, "ends")
    axes = call.ints(3, "axes") if call.has(3) else list(range(len(starts)))
    steps = call.ints(4, "steps") if call.has(4) else [1] * len(starts)
    picks = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis + rank if axis < 0 else axis
        picks[axis] = range(*slice(start, below(end, step), step).indices(x.shape[axis]))
    return cut(call.graph, x, picks)


def below(end: int, step: int) -> int | None:
    """ONNX spells "to the very end" as a huge number, and "down to the very first" as a hugely negative one."""
    return None if (step < 0 and end < -(2**30)) or (step > 0 and end > 2**30) else end


def cut(graph: Graph, x: Ref, picks: dict[int, range]) -> Ref:
    """Some axes restricted to a range each. A descending range is gathered, the rest is sliced."""
    for axis in [axis for axis, pick in picks.items() if pick.step < 0]:
        x = take(graph, x, axis, list(picks.pop(axis)))
    full = {axis: range(size) for axis, size in enumerate(x.shape)} | picks
    shape = tuple(len(full[axis]) for axis in range(len(x.shape)))
    if any(size == 0 for size in shape):
        raise Unsupported("selects nothing: an empty tensor")
    if shape == x.shape:
        return x
    begin = graph.const(np.array([full[axis].start for axis in x.order], np.int32))
    if all(pick.step == 1 for pick in full.values()):
        size = graph.const(np.array([shape[axis] for axis in x.order], np.int32))
        return Ref(graph.add("Slice", [x.wire, begin, size], **slice_types(x.dtype)), shape, x.dtype, x.order)
    end = graph.const(np.array([full[axis][-1] + 1 for axis in x.order], np.int32))
    steps = graph.const(np.array([full[axis].step for axis in x.order], np.int32))
    masks = {f"{name}_mask": a_int(0) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    wire = graph.add("StridedSlice", [x.wire, begin, end, steps], **slice_types(x.dtype), **masks)
    return Ref(wire, shape, x.dtype, x.order)


def slice_types(dtype: str) -> dict[str, dict[str, str]]:
    return {"T": a_type(dtype), "Index": a_type("int32")}


def take(graph: Graph, x: Ref, axis: int, rows: Sequence[int]) -> Ref:
    """The entries `rows` of one axis."""
    wire = gathered(graph, x.wire, graph.const(np.array(rows, np.int32)), x.order.index(axis), x.dtype)
    shape = (*x.shape[:axis], len(rows), *x.shape[axis + 1 :])
    return Ref(wire, shape, x.dtype, x.order)


def gathered(graph: Graph, x: Wire, rows: Wire, place: int, dtype: str) -> Wire:
    types = {"Tparams": a_type(dtype), "Tindices": a_type("int32"), "Taxis": a_type("int32")}
    return graph.add("GatherV2", [x, rows, graph.const(np.int32(place))], **types, batch_dims=a_int(0))


def pad(call: Call) -> Ref:
    x = call.ref()
    rank = len(x.shape)
    pads = call.ints(1, "pads")
    axes = call.ints(3, "axes") if call.has(3) else list(range(rank))
    around = {axis % rank: (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes)}
    trims = {a: range(max(0, -b), x.shape[a] - max(0, -e)) for a, (b, e) in around.items() if b < 0 or e < 0}
    x = cut(call.graph, x, trims)
    around = {a: (max(0, b), max(0, e)) for a, (b, e) in around.items()}
    if not any(any(both) for both in around.values()):
        return x
    mode = call.text("mode", "constant")
    if mode in ("edge", "wrap"):
        for axis, (before, after) in around.items():
            if before or after:
                size = x.shape[axis]
                rows = np.arange(-before, size + after)
                rows = np.clip(rows, 0, size - 1) if mode == "edge" else rows % size
                x = take(call.graph, x, axis, rows.tolist())
        return x
    return surrounded(call, x, around, mode)


def surrounded(call: Call, x: Ref, around: dict[int, tuple[int, int]], mode: str) -> Ref:
    rows = call.graph.const(np.array([around.get(axis, (0, 0)) for axis in x.order], np.int32))
    types = {"T": a_type(x.dtype), "Tpaddings": a_type("int32")}
    if mode == "reflect":
        return call.made(call.graph.add("MirrorPad", [x.wire, rows], **types, mode=a_text("REFLECT")), x.order)
    if mode != "constant":
        raise Unsupported(f"mode {mode!r}; supported: constant, reflect, edge, wrap")
    fill = np.asarray(call.known(2, "its fill value")).reshape(()) if call.has(2) else np.zeros(())
    filler = call.graph.const(fill.astype(x.dtype))
    return call.made(call.graph.add("PadV2", [x.wire, rows, filler], **types), x.order)


def expand(call: Call) -> Ref:
    x, shape = call.graph.raised(call.ref(), len(call.shapes[0])), call.shapes[0]
    assert isinstance(x, Ref)
    return tiled(call.graph, x, tuple(1 if old == new else new for old, new in zip(x.shape, shape, strict=True)))


def tile(call: Call) -> Ref:
    return tiled(call.graph, call.ref(), tuple(call.ints(1, "repeats")))


def tiled(graph: Graph, x: Ref, times: Shape) -> Ref:
    if all(count == 1 for count in times):
        return x
    counts = graph.const(np.array([times[axis] for axis in x.order], np.int32))
    wire = graph.add("Tile", [x.wire, counts], T=a_type(x.dtype), Tmultiples=a_type("int32"))
    return Ref(wire, tuple(size * count for size, count in zip(x.shape, times, strict=True)), x.dtype, x.order)


def depth_to_space(call: Call) -> Ref:
    """TF.js interleaves channels as ONNX's DCR does; PyTorch's pixel shuffle (CRD) needs them reordered first."""
    x, block = call.ref(), int(call.attrs["blocksize"])
    if call.text("mode", "DCR") == "CRD":
        rows = np.arange(x.shape[1]).reshape(-1, block * block).T.reshape(-1)
        if not np.array_equal(rows, np.arange(x.shape[1])):
            x = take(call.graph, Ref(call.graph.lay(x, NHWC), x.shape, x.dtype, NHWC), 1, rows.tolist())
    wire = call.graph.lay(x, NHWC)
    attrs = {"T": a_type(x.dtype), "block_size": a_int(block), "data_format": a_text("NHWC")}
    return call.made(call.graph.add("DepthToSpace", [wire], **attrs), NHWC)


def space_to_depth(call: Call) -> Ref:
    x, block = call.ref(), int(call.attrs["blocksize"])
    n, c, h, w = x.shape
    x = reshape(call.graph, x, (n, c, h // block, block, w // block, block))
    perm = (0, 3, 5, 1, 2, 4)
    moved = Ref(x.wire, tuple(x.shape[a] for a in perm), x.dtype, tuple(perm.index(a) for a in x.order))
    return reshape(call.graph, moved, call.shapes[0])


def cast(call: Call) -> Ref:
    x, dtype = call.ref(), call.dtypes[0]
    if dtype == x.dtype:
        return x
    wire = call.graph.add("Cast", [x.wire], SrcT=a_type(x.dtype), DstT={"type": DTYPES[dtype]})
    return call.made(wire, x.order)


def same(call: Call) -> Result:
    return call.value(0)


def shape_of(call: Call) -> Fixed:
    shape = np.array(call.ref().shape, np.int64)[int(call.attr("start", 0)) : call.attrs.get("end")]
    return Fixed(shape if call.op == "Shape" else np.array(shape.prod()), call.graph.scope)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), as_shaped),
    **dict.fromkeys(("Identity", "Dropout"), same),
    **dict.fromkeys(("Shape", "Size"), shape_of),
    **dict.fromkeys(("Cast", "CastLike"), cast),
    "Transpose": transpose,
    "Concat": concat,
    "Split": split,
    "Slice": sliced,
    "Pad": pad,
    "Expand": expand,
    "Tile": tile,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
