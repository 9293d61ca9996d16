"""Build a TF.js graph: nodes, weights, and the memory layout of every tensor.

TF.js kernels expect channels last, PyTorch's graphs are channels first. A tensor therefore carries its logical shape
(PyTorch's axis order) together with its layout: the order of its axes in memory. Lowering a transposition only changes
the layout. A Transpose node is added only where a kernel cannot work in the layout at hand.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attrs = dict[str, Any]
# layout[i] is the logical axis that lies at axis i in memory.
Layout = tuple[int, ...]
Shape = tuple[int, ...]

NHWC: Layout = (0, 2, 3, 1)
DTYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
INT32 = np.iinfo(np.int32)
# Constants of at most this many elements are scalars, bounds or shapes; recipes leave them uncompressed.
SMALL = 16


class UnsupportedOp(Exception):
    """Raised for an ONNX op, or attributes of one, without an exact TF.js counterpart. The message says why."""


def dtype_attr(dtype: str) -> Attrs:
    """Return an AttrValue of GraphDef's JSON form, as the functions below do. Bytes are base64, int64 is a string."""
    return {"type": DTYPES[dtype]}


def int_attr(value: int) -> Attrs:
    return {"i": str(value)}


def bool_attr(value: bool) -> Attrs:
    return {"b": value}


def float_attr(value: float) -> Attrs:
    return {"f": float(value)}


def string_attr(value: str) -> Attrs:
    return {"s": base64.b64encode(value.encode()).decode()}


def strings_attr(values: Iterable[str]) -> Attrs:
    return {"list": {"s": [base64.b64encode(value.encode()).decode() for value in values]}}


def ints_attr(values: Iterable[int]) -> Attrs:
    return {"list": {"i": [str(int(value)) for value in values]}}


def shape_attr(shape: Sequence[int]) -> Attrs:
    return {"dim": [{"size": str(size)} for size in shape]}


@dataclass(slots=True, eq=False)
class Node:
    """A TF.js node. Its name is `name_hint`, numbered where another node has that name.

    `value` is the array of a Const. `kernel` marks a Const that recipes may compress.
    """

    op: str
    inputs: list[NodeOutput]
    attrs: Attrs
    name_hint: str
    value: Array | None = None
    kernel: bool = False


# A node and the index of one of its outputs.
NodeOutput = tuple[Node, int]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that a node computes. `shape` is logical: in PyTorch's axis order."""

    source: NodeOutput
    shape: Shape
    dtype: str
    layout: Layout

    @property
    def memory_shape(self) -> Shape:
        """Return the shape that kernels see."""
        return tuple(self.shape[axis] for axis in self.layout)

    def with_source(self, source: NodeOutput) -> Tensor:
        """Return a tensor of the same shape, dtype and layout that another node computes."""
        return replace(self, source=source)


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor whose value is known at export, in PyTorch's axis order. It becomes a Const in its user's layout."""

    value: Array
    name: str

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        return tfjs_dtype(self.value)


Value = Tensor | Constant


def tfjs_dtype(value: Array) -> str:
    """Return the TF.js dtype for an array: float32, int32 (all integers) or bool.

    Raises UnsupportedOp for other dtypes, such as bfloat16.
    """
    dtypes = {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}
    if value.dtype.kind not in dtypes:
        raise UnsupportedOp(f"holds elements of dtype {value.dtype}; TF.js has float32, int32 and bool")
    return dtypes[value.dtype.kind]


def tfjs_array(value: Array) -> Array:
    """Cast an array to its TF.js dtype, in C order. Raises UnsupportedOp for integers beyond 32 bits."""
    if value.dtype.kind in "iu" and value.size and (value.min() < INT32.min or value.max() > INT32.max):
        raise UnsupportedOp("holds integers beyond 32 bits, which TF.js does not have")
    # Not ascontiguousarray: it turns a scalar into a vector.
    return np.asarray(value.astype(tfjs_dtype(value)), order="C")


def row_major(rank: int) -> Layout:
    """Return the layout in which memory has PyTorch's axis order."""
    return tuple(range(rank))


@dataclass(slots=True)
class Graph:
    """Nodes in topological order. `scope` is the ONNX tensor that is being lowered; new nodes are named after it."""

    scope: str = ""
    nodes: list[Node] = field(default_factory=list)
    _constants: dict[tuple[str, Shape, bytes, bool], Node] = field(default_factory=dict)
    _transposed: dict[tuple[int, int, Layout, Layout, Shape], NodeOutput] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[NodeOutput], **attrs: Attrs) -> NodeOutput:
        """Append a node and return its first output."""
        node = Node(op, list(inputs), attrs, f"{self.scope}/{op.lstrip('_')}")
        self.nodes.append(node)
        return node, 0

    def const(self, value: Any, name: str = "", kernel: bool = False) -> NodeOutput:
        """Return a Const with `value` as it is in memory; equal constants share a node.

        `kernel` marks a weight that recipes may compress.
        """
        array = tfjs_array(np.asarray(value))
        key = (str(array.dtype), tuple(array.shape), array.tobytes(), kernel)
        if key not in self._constants:
            attrs = {"dtype": dtype_attr(tfjs_dtype(array))}
            node = Node("Const", [], attrs, name or f"{self.scope}/const", array, kernel)
            self._constants[key] = node
            self.nodes.append(node)
        return self._constants[key], 0

    def placeholder(self, name: str, shape: Shape, dtype: str, layout: Layout) -> Tensor:
        """Append a graph input of logical `shape`."""
        memory_shape = [shape[axis] for axis in layout]
        attrs = {"dtype": dtype_attr(dtype), "shape": {"shape": shape_attr(memory_shape)}}
        node = Node("Placeholder", [], attrs, name)
        self.nodes.append(node)
        return Tensor((node, 0), shape, dtype, layout)

    def add_reshape(self, source: NodeOutput, memory_shape: Shape, dtype: str) -> NodeOutput:
        """Append a Reshape to a shape in memory; ops/shape.py reshapes logically."""
        shape = self.const(np.array(memory_shape, np.int32))
        return self.add("Reshape", [source, shape], T=dtype_attr(dtype), Tshape=dtype_attr("int32"))

    def to_layout(self, value: Value, layout: Layout) -> NodeOutput:
        """Return `value` in memory layout `layout`. A tensor in another layout is transposed, once for all users."""
        if isinstance(value, Constant):
            kernel = value.value.ndim >= 2 and value.value.dtype.kind == "f" and value.value.size > SMALL
            return self.const(np.transpose(value.value, layout), value.name, kernel=kernel)
        if value.layout == layout:
            return value.source
        node, index = value.source
        # The layouts are part of the key: a tensor and its transpose have one source, and one shape where it is square.
        key = (id(node), index, value.layout, layout, value.shape)
        if key not in self._transposed:
            self._transposed[key] = self._transpose(value, layout)
        return self._transposed[key]

    def _transpose(self, value: Tensor, layout: Layout) -> NodeOutput:
        if [a for a in value.layout if value.shape[a] > 1] == [a for a in layout if value.shape[a] > 1]:
            # Only axes of size 1 move, so memory stays as it is.
            return self.add_reshape(value.source, tuple(value.shape[axis] for axis in layout), value.dtype)
        permutation = self.const(np.array([value.layout.index(axis) for axis in layout], np.int32))
        attrs = {"T": dtype_attr(value.dtype), "Tperm": dtype_attr("int32")}
        return self.add("Transpose", [value.source, permutation], **attrs)

    def expand_rank(self, value: Value, rank: int) -> Value:
        """Prepend axes of size 1 up to `rank`, as broadcasting does."""
        missing = rank - len(value.shape)
        if missing <= 0:
            return value
        if isinstance(value, Constant):
            return Constant(value.value.reshape((1,) * missing + value.shape), value.name)
        layout = row_major(missing) + tuple(axis + missing for axis in value.layout)
        source = self.add_reshape(value.source, (1,) * missing + value.memory_shape, value.dtype)
        return Tensor(source, (1,) * missing + value.shape, value.dtype, layout)

    def broadcast(self, values: Sequence[Value], rank: int) -> tuple[list[NodeOutput], Layout]:
        """Return the operands of an elementwise op of result rank `rank`, in one layout, and that layout.

        It is the layout of the largest computed operand, because transposing another one costs least.
        """
        full_rank = [value for value in values if isinstance(value, Tensor) and len(value.shape) == rank]
        layout = row_major(rank)
        if full_rank:
            # Of equally large operands, one that is not row-major: it comes from a kernel that needs its layout.
            layout = max(
                full_rank, key=lambda value: (int(np.prod(value.shape)), value.layout != row_major(rank))
            ).layout
        # A single element broadcasts as a scalar, as long as another operand has the rank of the result.
        may_be_scalar = rank > 0 and any(len(value.shape) == rank and not is_scalar(value) for value in values)
        operands = []
        for value in values:
            if isinstance(value, Constant) and is_scalar(value) and may_be_scalar:
                operands.append(self.const(value.value.reshape(()), value.name))
            elif len(value.shape) < rank and layout == row_major(rank) and is_row_major(value):
                operands.append(self.to_layout(value, row_major(len(value.shape))))
            else:
                operands.append(self.to_layout(self.expand_rank(value, rank), layout))
        return operands, layout


def is_scalar(value: Value) -> bool:
    """Return whether `value` is a constant of one element."""
    return isinstance(value, Constant) and value.value.size == 1


def is_row_major(value: Value) -> bool:
    return isinstance(value, Constant) or value.layout == row_major(len(value.shape))


def safe_name(name: str) -> str:
    """Replace the characters that GraphDef's node names do not allow. A name may not begin with "_", "/" or "-"."""
    cleaned = re.sub(r"[^A-Za-z0-9._/-]", "_", name).lstrip("_/-")
    return cleaned or "node"


def live_nodes(nodes: Sequence[Node], outputs: Sequence[Node]) -> list[Node]:
    """Return the nodes that `outputs` depend on, and all placeholders, in their order."""
    live = {id(node) for node in outputs}
    for node in reversed(nodes):
        if id(node) in live:
            live.update(id(source) for source, _ in node.inputs)
    return [node for node in nodes if id(node) in live or node.op == "Placeholder"]
