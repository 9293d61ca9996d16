"""Patch coremltools' registry of torch op conversions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def conversion(name: str, convert: Callable[[Any, Any], None]) -> Iterator[None]:
    """Convert the torch op `name` by `convert(context, node)` while the context lasts.

    Only this name is patched: aliases that coremltools registered for the same function keep it. Raises KeyError for a
    name that is not registered.
    """
    registry = import_module("coremltools.converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY
    conversions = registry.name_to_func_mapping
    original = conversions[name]
    conversions[name] = convert
    try:
        yield
    finally:
        conversions[name] = original
