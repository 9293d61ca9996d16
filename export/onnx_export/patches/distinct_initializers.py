"""Patch onnxscript's rewriter: initializers with the same name.

Symptom: a net that calls `aten.clamp` twice on one tensor becomes an ONNX file that no runtime opens: "Node input
'x_min_1' is not a graph input, initializer, or output of a previous node".
Cause: the rewrite rules that fuse Min and Max into Clip name the bounds after the input tensor. Two rewrites that read
the same tensor register two initializers under one name, and one of them is lost
(https://github.com/microsoft/onnxscript/issues/2079).
Retired by: an onnxscript whose rewriter gives new initializers unique names (the net is in tests/export/test_onnx.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import Any


@contextmanager
def distinct_initializers() -> Iterator[None]:
    """Give initializers unique names: a name that a rewrite rule has used before is numbered, `x_min_2`, `x_min_3`."""
    builder: Any = import_module("onnxscript._internal.tape_builder").BuilderBase
    original, uses = builder.initializer, Counter[str]()

    @wraps(original)
    def initializer(self: Any, tensor: Any, name: str | None = None) -> Any:
        base = name or tensor.name
        uses[base] += 1
        return original(self, tensor, f"{base}_{uses[base]}" if uses[base] > 1 else base)

    builder.initializer = initializer
    try:
        yield
    finally:
        builder.initializer = original
