"""Answer questions about nodes of ATen graphs, and add constants to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import fx


def schema_name(node: fx.Node) -> str:
    """Return the op's name in its library: "aten::add" for aten.add.Tensor, "" for a node without a schema."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name) if node.op == "call_function" and schema is not None else ""


def op_name(target: Any) -> str:
    """Return an ATen op's name without its overload: "add" for aten.add.Tensor; the text of any other target."""
    name = str(target)
    return name.split(".")[1] if name.startswith("aten.") else name


def is_mutable(target: Any) -> bool:
    """Return whether the op's schema mutates one of its arguments, as `aten.add_` does."""
    schema = getattr(target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def pair(value: Any) -> list[int]:
    """Return a kernel, stride, padding or dilation as [height, width]: one int stands for both."""
    listed = [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]
    return listed * 2 if len(listed) == 1 else listed


def constant(graph: fx.GraphModule, value: torch.Tensor) -> fx.Node:
    """Register `value` as a buffer and return a new node that reads it, at the current insertion point."""
    # The prefix becomes part of tensor names in exported files.
    name = f"spelled_{sum(1 for key in dict(graph.named_buffers()) if key.startswith('spelled_'))}"
    graph.register_buffer(name, value, persistent=False)
    return graph.graph.get_attr(name)
