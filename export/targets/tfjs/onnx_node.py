"""Define the argument and the result of the lowering of one ONNX op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.targets.tfjs.graph import (
    Array,
    Constant,
    Graph,
    Layout,
    NodeOutput,
    Shape,
    Tensor,
    UnsupportedOp,
    Value,
    dtype_attr,
    row_major,
)


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """An ONNX node whose operands are lowered already.

    `graph` is the TF.js graph that the lowering adds nodes to. An operand is None where ONNX leaves it out.
    `sole_user` says that no other node reads operand 0 and that it is no graph output: only then may an activation be
    fused into the node that computes it.
    """

    graph: Graph
    op_type: str
    operands: tuple[Value | None, ...]
    attrs: Mapping[str, Any]
    output_shapes: tuple[Shape, ...]
    output_dtypes: tuple[str, ...]
    sole_user: bool

    @property
    def shape(self) -> Shape:
        """Return the logical shape of the first output."""
        return self.output_shapes[0]

    @property
    def dtype(self) -> str:
        """Return the TF.js dtype of the first output."""
        return self.output_dtypes[0]

    def has(self, index: int) -> bool:
        return index < len(self.operands) and self.operands[index] is not None

    def operand(self, index: int) -> Value:
        """Return an operand. Raises UnsupportedOp where it is left out."""
        value = self.operands[index] if index < len(self.operands) else None
        if value is None:
            raise UnsupportedOp(f"needs input {index}")
        return value

    def tensor(self, index: int = 0) -> Tensor:
        """Return an operand as a tensor. A constant is added to the graph, row-major."""
        value = self.operand(index)
        if isinstance(value, Tensor):
            return value
        layout = row_major(len(value.shape))
        return Tensor(self.graph.to_layout(value, layout), value.shape, value.dtype, layout)

    def constant(self, index: int, what: str) -> Array:
        """Return the value of an operand that must be known at export, such as a shape.

        Raises UnsupportedOp, which calls the operand `what`, where it is computed.
        """
        value = self.operand(index)
        if not isinstance(value, Constant):
            raise UnsupportedOp(f"{what} is computed at run time; it must be a constant")
        return value.value

    def ints(self, index: int, what: str) -> list[int]:
        """Return a constant operand as a flat list of ints."""
        return [int(item) for item in np.asarray(self.constant(index, what)).reshape(-1)]

    def attr(self, name: str, default: Any) -> Any:
        return self.attrs.get(name, default)

    def attr_str(self, name: str, default: str) -> str:
        value = self.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def axis(self, default: int, rank: int) -> int:
        """Return the attribute `axis`, counted from the front."""
        axis = int(self.attr("axis", default))
        return axis + rank if axis < 0 else axis

    def result(self, source: NodeOutput, layout: Layout, index: int = 0) -> Tensor:
        """Return `source` as output `index` of the op, with the shape and dtype that the ONNX graph states."""
        return Tensor(source, self.output_shapes[index], self.output_dtypes[index], layout)

    def float_op(self, op: str, *operands: NodeOutput) -> NodeOutput:
        """Add a float32 node whose only attribute is its dtype."""
        return self.graph.add(op, operands, T=dtype_attr("float32"))

    def scalar(self, value: float) -> NodeOutput:
        """Add a float32 scalar Const."""
        return self.graph.const(np.float32(value))


Result = Value | tuple[Value, ...]
Lowering = Callable[[OnnxNode], Result]
