"""Import coremltools without the frameworks that this target does not use."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# Frameworks that coremltools imports where they are installed, for frontends and formats that are not used here.
HIDDEN = ("tensorflow", "sklearn", "xgboost", "torchao", "transformers")


def load_coremltools() -> Any:
    """Import coremltools with `HIDDEN` hidden: on two cores they take 10 of 17 s of processor time."""
    if "coremltools" in sys.modules:
        return sys.modules["coremltools"]
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None is how an import is blocked
    blocked = [name for name in HIDDEN if name not in modules]
    modules.update(dict.fromkeys(blocked))
    try:
        return import_module("coremltools")
    finally:
        for name in blocked:
            del modules[name]


def load_compression() -> Any:
    """Import coremltools.optimize.coreml, which compresses the weights of finished packages."""
    load_coremltools()
    return import_module("coremltools.optimize.coreml")
