"""Import coremltools without the frameworks that this target does not use."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def load_coremltools() -> Any:
    """Import coremltools with TensorFlow hidden.

    coremltools imports TensorFlow where it is installed, for a frontend that is not used here. That takes 12 s.
    """
    if "coremltools" in sys.modules:
        return sys.modules["coremltools"]
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None is how an import is blocked
    present = "tensorflow" in modules
    if not present:
        modules["tensorflow"] = None
    try:
        return import_module("coremltools")
    finally:
        if not present:
            del modules["tensorflow"]


def load_compression() -> Any:
    """Import coremltools.optimize.coreml, which compresses the weights of finished packages."""
    load_coremltools()
    return import_module("coremltools.optimize.coreml")
