"""coremltools, imported without what it does not need here."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

MISSING = object()


def load_coremltools() -> Any:
    """The coremltools module.

    Its import looks for TensorFlow, and where that is installed spends 12 s on importing it for a frontend
    that is not used here: it is hidden for as long as the import lasts.
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
    """coremltools.optimize.coreml: weight compression of finished packages."""
    load_coremltools()
    return import_module("coremltools.optimize.coreml")
