"""One ONNX op on its way into the graph, as its handler sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.targets.tfjs.graph import Array, Fixed, Graph, Order, Ref, Shape, Unsupported, Value, Wire, a_type


@dataclass(frozen=True, slots=True)
class Call:
    """`shapes` and `dtypes` are those of the outputs. `sole`: input 0 is read by this op alone and is no output."""

    graph: Graph
    op: str
    inputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any]
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    sole: bool

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise Unsupported(f"needs input {index}")
        return found

    def ref(self, index: int = 0) -> Ref:
        """A computed input; a known one is put into the graph as a constant."""
        found = self.value(index)
        if isinstance(found, Ref):
            return found
        order = tuple(range(len(found.shape)))
        return Ref(self.graph.lay(found, order), found.shape, found.dtype, order)

    def known(self, index: int, what: str) -> Array:
        """An input whose value must be known at export, such as weights or a shape."""
        found = self.value(index)
        if not isinstance(found, Fixed):
            raise Unsupported(f"{what} is computed at run time; it must be a constant")
        return found.value

    def ints(self, index: int, what: str) -> list[int]:
        return [int(item) for item in np.asarray(self.known(index, what)).reshape(-1)]

    def attr(self, name: str, default: Any) -> Any:
        return self.attrs.get(name, default)

    def text(self, name: str, default: str) -> str:
        found = self.attrs.get(name, default)
        return found.decode() if isinstance(found, bytes) else str(found)

    def made(self, wire: Wire, order: Order, output: int = 0) -> Ref:
        """The op's result, whose logical shape and dtype the ONNX graph states."""
        return Ref(wire, self.shapes[output], self.dtypes[output], order)

    def float_op(self, op: str, *wires: Wire) -> Wire:
        """A float op that has no attribute but its type."""
        return self.graph.add(op, wires, T=a_type("float32"))

    def number(self, value: float) -> Wire:
        return self.graph.const(np.float32(value))


Result = Value | tuple[Value, ...]
Handler = Callable[[Call], Result]


def axis_of(call: Call, default: int, rank: int) -> int:
    axis = int(call.attr("axis", default))
    return axis + rank if axis < 0 else axis
