"""Lower matrix products. An operand whose last two axes are swapped in memory is multiplied as transposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.targets.tfjs.graph import (
    Constant,
    NodeOutput,
    Shape,
    Tensor,
    UnsupportedOp,
    Value,
    bool_attr,
    dtype_attr,
    row_major,
)
from export.targets.tfjs.onnx_node import Lowering, OnnxNode
from export.targets.tfjs.ops.reduction import add_reduction, layout_without
from export.targets.tfjs.ops.shape import permute, reshape


def matrix_operand(node: OnnxNode, value: Value) -> tuple[NodeOutput, bool]:
    """Return the operand with its two matrix axes last in memory, and whether these two are swapped."""
    rank = len(value.shape)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if isinstance(value, Tensor) and value.layout == swapped:
        return value.source, True
    return node.graph.to_layout(value, row_major(rank)), False


def add_matmul(node: OnnxNode, a: Value, b: Value) -> NodeOutput:
    """Add a MatMul of matrices, or a BatchMatMulV2 of stacks of matrices. The result is row-major."""
    (left, swap_left), (right, swap_right) = matrix_operand(node, a), matrix_operand(node, b)
    if len(a.shape) == len(b.shape) == 2:
        flags = {"transpose_a": bool_attr(swap_left), "transpose_b": bool_attr(swap_right)}
        return node.graph.add("MatMul", [left, right], T=dtype_attr("float32"), **flags)
    flags = {"adj_x": bool_attr(swap_left), "adj_y": bool_attr(swap_right)}
    return node.graph.add("BatchMatMulV2", [left, right], T=dtype_attr("float32"), **flags)


def lower_matmul(node: OnnxNode) -> Tensor:
    a, b = node.operand(0), node.operand(1)
    if len(a.shape) == 1 or len(b.shape) == 1:
        a = reshape_vector(node, a, (1, *a.shape)) if len(a.shape) == 1 else a
        b = reshape_vector(node, b, (*b.shape, 1)) if len(b.shape) == 1 else b
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        product = Tensor(add_matmul(node, a, b), shape, "float32", row_major(len(shape)))
        return reshape(node.graph, product, node.shape)
    if len(b.shape) == 2 and len(a.shape) > 2 and isinstance(a, Tensor):
        # A linear layer over tokens: one large product is faster than a batch of small ones.
        rows = reshape(node.graph, a, (int(np.prod(a.shape[:-1])), a.shape[-1]))
        product = Tensor(add_matmul(node, rows, b), (rows.shape[0], b.shape[1]), "float32", (0, 1))
        return reshape(node.graph, product, node.shape)
    rank = max(len(a.shape), len(b.shape))
    a, b = node.graph.expand_rank(a, rank), node.graph.expand_rank(b, rank)
    return node.result(add_matmul(node, a, b), row_major(rank))


def reshape_vector(node: OnnxNode, vector: Value, shape: Shape) -> Value:
    if isinstance(vector, Constant):
        return Constant(vector.value.reshape(shape), vector.name)
    return reshape(node.graph, vector, shape)


def transpose_matrix(value: Value) -> Value:
    return Constant(value.value.T, value.name) if isinstance(value, Constant) else permute(value, (1, 0))


def lower_gemm(node: OnnxNode) -> Tensor:
    """Lower Gemm: alpha * A @ B + beta * C, where A and B may be transposed."""
    a, b = node.operand(0), node.operand(1)
    a = transpose_matrix(a) if node.attr("transA", 0) else a
    b = transpose_matrix(b) if node.attr("transB", 0) else b
    source = add_matmul(node, a, b)
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    if alpha != 1.0:
        source = node.float_op("Mul", source, node.scalar(alpha))
    if node.has(2):
        (bias,), _ = node.graph.broadcast([node.operand(2)], len(node.operand(2).shape))
        bias = bias if beta == 1.0 else node.float_op("Mul", bias, node.scalar(beta))
        source = node.float_op("AddV2", source, bias)
    return node.result(source, (0, 1))


def lower_einsum(node: OnnxNode) -> Tensor:
    """Lower Einsum of two operands to one batched matrix product, of one operand to a sum and a permutation.

    Raises UnsupportedOp for more operands, an ellipsis, a label twice in one term, and an implicit or empty result.
    """
    terms, _, result = node.attr_str("equation", "").replace(" ", "").partition("->")
    labels = terms.split(",")
    repeated = any(len(set(term)) != len(term) for term in (*labels, result))
    if len(labels) > 2 or "." in terms or not result or repeated:
        equation = node.attr_str("equation", "")
        raise UnsupportedOp(f"{equation!r}; supported: one or two operands, no ellipsis, no repeated index")
    operands = sum_unshared_labels(node, labels, result)
    if len(operands) == 1:
        return permute(operands[0].value, [operands[0].labels.index(label) for label in result])
    left, right = operands
    sizes = {label: size for term in operands for label, size in zip(term.labels, term.value.shape, strict=True)}
    batch = [label for label in result if label in left.labels and label in right.labels]
    summed = [label for label in left.labels if label in right.labels and label not in result]
    rows = [label for label in result if label not in right.labels]
    columns = [label for label in result if label not in left.labels]

    def as_matrices(term: Term, first: list[str], second: list[str]) -> Tensor:
        permuted = permute(term.value, [term.labels.index(label) for label in (*batch, *first, *second)])
        shape = tuple(int(np.prod([sizes[label] for label in group])) for group in (batch, first, second))
        return reshape(node.graph, permuted, shape)

    a, b = as_matrices(left, rows, summed), as_matrices(right, summed, columns)
    product = Tensor(add_matmul(node, a, b), (a.shape[0], a.shape[1], b.shape[2]), "float32", (0, 1, 2))
    product_labels = [*batch, *rows, *columns]
    unfolded = reshape(node.graph, product, tuple(sizes[label] for label in product_labels))
    return permute(unfolded, [product_labels.index(label) for label in result])


@dataclass(frozen=True, slots=True)
class Term:
    """An operand of an einsum and the label of each of its axes."""

    value: Tensor
    labels: str


def sum_unshared_labels(node: OnnxNode, labels: list[str], result: str) -> list[Term]:
    """Sum each operand over the labels that neither the other operand nor the result has."""
    terms = []
    for index, term in enumerate(labels):
        kept = {*result, *(label for other, more in enumerate(labels) if other != index for label in more)}
        x, axes = node.tensor(index), [axis for axis, label in enumerate(term) if label not in kept]
        if axes:
            shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
            source = add_reduction(node.graph, "Sum", x, axes, False)
            x = Tensor(source, shape, x.dtype, layout_without(x.layout, axes))
        terms.append(Term(x, "".join(label for label in term if label in kept)))
    return terms


LOWERINGS: dict[str, Lowering] = {"MatMul": lower_matmul, "Gemm": lower_gemm, "Einsum": lower_einsum}
