"""Patch coremltools' registry of torch op conversions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def conversion(name: str, convert: Callable[[Any, Any], None]) -> Iterator[None]:
    """Convert the torch op `name` by `convert(context, node)` for as long as the context lasts."""
    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY
    table = registry.name_to_func_mapping
    vendors = table[name]
    table[name] = convert
    try:
        yield
    finally:
        table[name] = vendors
