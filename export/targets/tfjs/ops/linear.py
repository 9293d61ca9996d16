"""Matrix products. Operands whose last two axes lie swapped in memory are multiplied as transposed, not moved."""

from __future__ import annotations

import numpy as np

from export.targets.tfjs.call import Call, Handler
from export.targets.tfjs.graph import Fixed, Ref, Shape, Unsupported, Value, Wire, a_bool, a_type, plain
from export.targets.tfjs.ops.reduction import order_without, reduced
from export.targets.tfjs.ops.shape import reshape


def matrix(call: Call, value: Value) -> tuple[Wire, bool]:
    """The value with its matrix axes last, and whether those two are swapped."""
    rank = len(value.shape)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if isinstance(value, Ref) and value.order == swapped:
        return value.wire, True
    return call.graph.lay(value, plain(rank)), False


def multiply(call: Call, a: Value, b: Value) -> Wire:
    (left, flip_left), (right, flip_right) = matrix(call, a), matrix(call, b)
    if len(a.shape) == len(b.shape) == 2:
        flips = {"transpose_a": a_bool(flip_left), "transpose_b": a_bool(flip_right)}
        return call.graph.add("MatMul", [left, right], T=a_type("float32"), **flips)
    flips = {"adj_x": a_bool(flip_left), "adj_y": a_bool(flip_right)}
    return call.graph.add("BatchMatMulV2", [left, right], T=a_type("float32"), **flips)


def matmul(call: Call) -> Ref:
    a, b = call.value(0), call.value(1)
    if len(a.shape) == 1 or len(b.shape) == 1:
        a, b = as_matrix(call, a, True), as_matrix(call, b, False)
        shape = product_shape(a.shape, b.shape)
        return reshape(call.graph, Ref(multiply(call, a, b), shape, "float32", plain(len(shape))), call.shapes[0])
    if len(b.shape) == 2 and len(a.shape) > 2 and isinstance(a, Ref):
        # A linear layer over tokens: one large product is faster than a batch of small ones.
        rows = reshape(call.graph, a, (int(np.prod(a.shape[:-1])), a.shape[-1]))
        wire = multiply(call, rows, b)
        return reshape(call.graph, Ref(wire, (rows.shape[0], b.shape[1]), "float32", (0, 1)), call.shapes[0])
    rank = max(len(a.shape), len(b.shape))
    a, b = call.graph.raised(a, rank), call.graph.raised(b, rank)
    return call.made(multiply(call, a, b), plain(rank))


def as_matrix(call: Call, value: Value, row: bool) -> Value:
    if len(value.shape) != 1:
        return value
    shape = (1, value.shape[0]) if row else (value.shape[0], 1)
    if isinstance(value, Fixed):
        return Fixed(value.value.reshape(shape), value.name)
    return reshape(call.graph, value, shape)


def product_shape(a: Shape, b: Shape) -> Shape:
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def turned(value: Value) -> Value:
    if isinstance(value, Fixed):
        return Fixed(value.value.T, value.name)
    return Ref(value.wire, value.shape[::-1], value.dtype, tuple(1 - axis for axis in value.order))


def gemm(call: Call) -> Ref:
    """alpha * A' B' + beta * C."""
    a, b = call.value(0), call.value(1)
    a = turned(a) if call.attr("transA", 0) else a
    b = turned(b) if call.attr("transB", 0) else b
    wire = multiply(call, a, b)
    alpha, beta = float(call.attr("alpha", 1.0)), float(call.attr("beta", 1.0))
    if alpha != 1.0:
        wire = call.float_op("Mul", wire, call.number(alpha))
    if call.has(2):
        (bias,), _ = call.graph.together([call.value(2)], len(call.value(2).shape))
        bias = bias if beta == 1.0 else call.float_op("Mul", bias, call.number(beta))
        wire = call.float_op("AddV2", wire, bias)
    return call.made(wire, (0, 1))


def einsum(call: Call) -> Ref:
    """A sum of products of two operands, as one batched matrix product; of one, as a sum and a transposition."""
    sides, _, result = call.text("equation", "").replace(" ", "").partition("->")
    names = sides.split(",")
    repeated = any(len(set(labels)) != len(labels) for labels in (*names, result))
    if len(names) > 2 or "." in sides or not result or repeated:
        asked = call.text("equation", "")
        raise Unsupported(f"{asked!r}; supported: one or two operands, no ellipsis, no repeated index")
    values, names = alone(call, names, result)
    if len(names) == 1:
        return arranged(values[0], [names[0].index(label) for label in result])
    left, right = names
    sizes = {label: size for i in (0, 1) for label, size in zip(names[i], values[i].shape, strict=True)}
    batch = [label for label in result if label in left and label in right]
    summed = [label for label in left if label in right and label not in result]
    rows = [label for label in result if label not in right]
    columns = [label for label in result if label not in left]

    def sides_of(index: int, first: list[str], second: list[str]) -> Ref:
        turned_to = arranged(values[index], [names[index].index(label) for label in (*batch, *first, *second)])
        shape = tuple(int(np.prod([sizes[label] for label in group])) for group in (batch, first, second))
        return reshape(call.graph, turned_to, shape)

    a, b = sides_of(0, rows, summed), sides_of(1, summed, columns)
    made = Ref(multiply(call, a, b), (a.shape[0], a.shape[1], b.shape[2]), "float32", (0, 1, 2))
    labels = [*batch, *rows, *columns]
    spread = reshape(call.graph, made, tuple(sizes[label] for label in labels))
    return arranged(spread, [labels.index(label) for label in result])


def alone(call: Call, names: list[str], result: str) -> tuple[list[Ref], list[str]]:
    """The operands summed over the labels that one of them alone has and the result has not, and what is left."""
    values, kept = [], []
    for index, labels in enumerate(names):
        others = {*result, *(label for other, more in enumerate(names) if other != index for label in more)}
        x, axes = call.ref(index), [axis for axis, label in enumerate(labels) if label not in others]
        if axes:
            shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
            x = Ref(reduced(call.graph, "Sum", x, axes, False), shape, x.dtype, order_without(x.order, axes))
        values.append(x)
        kept.append("".join(label for label in labels if label in others))
    return values, kept


def arranged(x: Ref, perm: list[int]) -> Ref:
    """A transposition, which is only a note."""
    return Ref(x.wire, tuple(x.shape[axis] for axis in perm), x.dtype, tuple(perm.index(axis) for axis in x.order))


HANDLERS: dict[str, Handler] = {"MatMul": matmul, "Gemm": gemm, "Einsum": einsum}
