"""A TF.js graph under construction: nodes, weights, and the memory order of every value.

TF.js kernels want channels last, PyTorch's graphs say channels first. A value therefore carries its PyTorch
("logical") shape together with the order in which its axes lie in memory; a transposition only changes that
note, and real Transpose nodes appear where a kernel cannot work in the order at hand.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attrs = dict[str, Any]
Order = tuple[int, ...]
Shape = tuple[int, ...]

NHWC: Order = (0, 2, 3, 1)
DTYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
INT32 = np.iinfo(np.int32)


class Unsupported(Exception):
    """An ONNX op, or a form of it, that has no exact counterpart here. The message says which and why."""


def a_type(dtype: str) -> Attrs:
    return {"type": DTYPES[dtype]}


def a_int(value: int) -> Attrs:
    return {"i": str(value)}


def a_bool(value: bool) -> Attrs:
    return {"b": value}


def a_float(value: float) -> Attrs:
    return {"f": float(value)}


def a_text(value: str) -> Attrs:
    return {"s": base64.b64encode(value.encode()).decode()}


def a_texts(values: Iterable[str]) -> Attrs:
    return {"list": {"s": [base64.b64encode(value.encode()).decode() for value in values]}}


def a_ints(values: Iterable[int]) -> Attrs:
    return {"list": {"i": [str(int(value)) for value in values]}}


def a_shape(shape: Sequence[int]) -> Attrs:
    return {"dim": [{"size": str(size)} for size in shape]}


@dataclass(slots=True, eq=False)
class Node:
    """One op. `hint` becomes its name where that is free; inputs are (node, output index)."""

    op: str
    inputs: list[Wire]
    attrs: Attrs
    hint: str
    value: Array | None = None
    kernel: bool = False


Wire = tuple[Node, int]


@dataclass(frozen=True, slots=True)
class Ref:
    """A computed value: PyTorch's shape, and `order`: the logical axis at each place in memory."""

    wire: Wire
    shape: Shape
    dtype: str
    order: Order

    @property
    def memory(self) -> Shape:
        """The shape as the kernel sees it."""
        return tuple(self.shape[axis] for axis in self.order)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value known now, in PyTorch's layout. It becomes a weight in whatever order a kernel asks for."""

    value: Array
    name: str

    @property
    def shape(self) -> Shape:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        return dtype_of(self.value)


Value = Ref | Fixed


def dtype_of(value: Array) -> str:
    """TF.js has three number types: 64-bit integers become int32, other floats float32.

    Raises Unsupported for others: numpy has no kind for bfloat16.
    """
    kinds = {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}
    if value.dtype.kind not in kinds:
        raise Unsupported(f"holds values of type {value.dtype}; TF.js has float32, int32 and bool")
    return kinds[value.dtype.kind]


def as_stored(value: Array) -> Array:
    """The array in one of TF.js's types. Raises Unsupported for integers beyond 32 bits."""
    if value.dtype.kind in "iu" and value.size and (value.min() < INT32.min or value.max() > INT32.max):
        raise Unsupported("holds integers beyond 32 bits, which TF.js does not have")
    # Not ascontiguousarray: that makes a vector of a scalar.
    return np.asarray(value.astype(dtype_of(value)), order="C")


def plain(rank: int) -> Order:
    return tuple(range(rank))


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which each follows its inputs. `scope` is the ONNX value being made, for names."""

    scope: str = ""
    nodes: list[Node] = field(default_factory=list)
    _consts: dict[tuple[str, Shape, bytes, bool], Node] = field(default_factory=dict)
    _moved: dict[tuple[int, int, Order, Order, Shape], Wire] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[Wire], **attrs: Attrs) -> Wire:
        node = Node(op, list(inputs), attrs, f"{self.scope}/{op.lstrip('_')}")
        self.nodes.append(node)
        return node, 0

    def const(self, value: Any, name: str = "", kernel: bool = False) -> Wire:
        """A constant in the order given; equal ones are shared. `kernel` marks a weight that recipes may compress."""
        array = as_stored(np.asarray(value))
        key = (str(array.dtype), tuple(array.shape), array.tobytes(), kernel)
        if key not in self._consts:
            node = Node("Const", [], {"dtype": a_type(dtype_of(array))}, name or f"{self.scope}/const", array, kernel)
            self._consts[key] = node
            self.nodes.append(node)
        return self._consts[key], 0

    def placeholder(self, name: str, shape: Shape, dtype: str, order: Order) -> Ref:
        memory = [shape[axis] for axis in order]
        node = Node("Placeholder", [], {"dtype": a_type(dtype), "shape": {"shape": a_shape(memory)}}, name)
        self.nodes.append(node)
        return Ref((node, 0), shape, dtype, order)

    def reshaped(self, wire: Wire, memory: Shape, dtype: str) -> Wire:
        shape = self.const(np.array(memory, np.int32))
        return self.add("Reshape", [wire, shape], T=a_type(dtype), Tshape=a_type("int32"))

    def lay(self, value: Value, order: Order) -> Wire:
        """The value with its axes in `order` in memory; transposed, once, where they are not."""
        if isinstance(value, Fixed):
            big = value.value.ndim >= 2 and value.value.dtype.kind == "f" and value.value.size > 16
            return self.const(np.transpose(value.value, order), value.name, kernel=big)
        if value.order == order:
            return value.wire
        node, index = value.wire
        # A tensor and its transpose share a wire, and a shape too where sides are equal.
        key = (id(node), index, value.order, order, value.shape)
        if key not in self._moved:
            self._moved[key] = self._move(value, order)
        return self._moved[key]

    def _move(self, value: Ref, order: Order) -> Wire:
        memory = tuple(value.shape[axis] for axis in order)
        if [a for a in value.order if value.shape[a] > 1] == [a for a in order if value.shape[a] > 1]:
            return self.reshaped(value.wire, memory, value.dtype)
        perm = self.const(np.array([value.order.index(axis) for axis in order], np.int32))
        return self.add("Transpose", [value.wire, perm], T=a_type(value.dtype), Tperm=a_type("int32"))

    def raised(self, value: Value, rank: int) -> Value:
        """The value with leading axes of size 1, as broadcasting would add them."""
        missing = rank - len(value.shape)
        if missing <= 0:
            return value
        if isinstance(value, Fixed):
            return Fixed(value.value.reshape((1,) * missing + value.shape), value.name)
        order = plain(missing) + tuple(axis + missing for axis in value.order)
        wire = self.reshaped(value.wire, (1,) * missing + value.memory, value.dtype)
        return Ref(wire, (1,) * missing + value.shape, value.dtype, order)

    def together(self, values: Sequence[Value], rank: int) -> tuple[list[Wire], Order]:
        """Operands of one broadcasting op in one common order: the order of the largest computed one."""
        full = [value for value in values if isinstance(value, Ref) and len(value.shape) == rank]
        if full:
            # Between equals, the one that is not in PyTorch's order: it came from a kernel that needs that.
            best = max(full, key=lambda value: (int(np.prod(value.shape)), value.order != plain(rank)))
            order = best.order
        else:
            order = plain(rank)
        # One number takes any shape, as long as something else has that of the result.
        whole = any(len(value.shape) == rank and not is_number(value) for value in values)
        wires = []
        for value in values:
            if isinstance(value, Fixed) and is_number(value) and rank > 0 and whole:
                wires.append(self.const(value.value.reshape(()), value.name))
            elif len(value.shape) < rank and order == plain(rank) and value_is_plain(value):
                wires.append(self.lay(value, plain(len(value.shape))))
            else:
                wires.append(self.lay(self.raised(value, rank), order))
        return wires, order


def is_number(value: Value) -> bool:
    return isinstance(value, Fixed) and value.value.size == 1


def value_is_plain(value: Value) -> bool:
    return isinstance(value, Fixed) or value.order == plain(len(value.shape))


def safe_name(name: str) -> str:
    """A name that GraphDef accepts: letters, digits and ._/- ; it may not begin with the last three."""
    cleaned = re.sub(r"[^A-Za-z0-9._/-]", "_", name).lstrip("_/-")
    return cleaned or "node"


def live(nodes: Sequence[Node], outputs: Sequence[Node]) -> list[Node]:
    """The nodes that outputs depend on, and the placeholders, in their order."""
    wanted = {id(node) for node in outputs}
    for node in reversed(nodes):
        if id(node) in wanted:
            wanted.update(id(source) for source, _ in node.inputs)
    return [node for node in nodes if id(node) in wanted or node.op == "Placeholder"]
