"""Exporter fix: two constants of one name.

Symptom: a net that clamps a tensor twice becomes an ONNX file that no runtime opens: "Node input 'x_min_1' is not a
graph input, initializer, or output of a previous node".
Cause: onnxscript's rewrites name the bounds of a Clip after the tensor it reads; of two such constants one is lost.
Retired by: an onnxscript whose rewrites find new constants names of their own (tests/export/test_onnx.py has the net).
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
    """Have the exporter's rewrites number the constants whose name is taken, while this lasts."""
    tape: Any = import_module("onnxscript._internal.tape_builder").BuilderBase
    vendors, taken = tape.initializer, Counter[str]()

    @wraps(vendors)
    def numbered(self: Any, tensor: Any, name: str | None = None) -> Any:
        chosen = name or tensor.name
        taken[chosen] += 1
        return vendors(self, tensor, f"{chosen}_{taken[chosen]}" if taken[chosen] > 1 else chosen)

    tape.initializer = numbered
    try:
        yield
    finally:
        tape.initializer = vendors
