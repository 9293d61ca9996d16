"""Load Core ML models by coremltools and pass tensors to them, for the runtimes on Apple's systems."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime import Array
from hydramobile.artifact import Entry, Port
from hydramobile.errors import StageError


def load_model(folder: Path, entry: Entry, units: str) -> Any:
    """Load one function of a package for `units`, a name of coremltools.ComputeUnit. Raises StageError("open")."""
    ct = import_module("coremltools")
    try:
        return ct.models.MLModel(
            str(folder / entry.file), compute_units=ct.ComputeUnit[units], function_name=entry.function
        )
    except Exception as error:  # coremltools raises RuntimeError and worse for a package that Core ML refuses
        raise StageError("open", f"{folder / entry.file}: {error}") from error


def as_feature(port: Port, value: Array) -> Any:
    """Convert a tensor for `predict`: to a PIL image for an image input, otherwise an array for a MultiArray."""
    if port.dtype != "uint8":
        return value
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(value[0], np.uint8))
