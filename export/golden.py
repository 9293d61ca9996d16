"""Write the golden input and output of an artifact, so that an app can check itself on the phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.artifact import Entry, Port
from hydramobile.files import dump_json, write_text
from hydramobile.ports import to_file
from hydramobile.recipes import Recipe

FOLDER = "golden"
Array = NDArray[np.generic]


def tolerance(recipe: Recipe) -> float:
    """Return the mean absolute error that an app should accept, as a share of the output's range.

    It is wide on purpose: it distinguishes a wrong layout or a missing division by 255 from rounding on another chip.
    The parity report gives the exact verdict.
    """
    if recipe.scheme == "float":
        return 1e-4 if recipe.weight_bits == 32 else 5e-3
    return 0.03 if recipe.weight_bits >= 8 else 0.1


def write_golden(
    folder: Path, entries: Sequence[Entry], tensors: Mapping[str, Array], recipe: Recipe, sample: str
) -> dict[str, Any]:
    """Write `folder`/golden/*.bin and golden.json for the primary entries. Return the content of golden.json.

    Files are raw little-endian arrays in the artifact's own layout, dtype and value range. A tensor that several
    entries use in the same way is stored once. `mean_abs` is in the file's units.
    """
    content: dict[str, Any] = {"sample": sample, "entries": {}}
    for entry in entries:
        if entry.variant:
            continue
        content["entries"][entry.id] = {
            "inputs": {port.file_name: store(folder, port, tensors) for port in entry.inputs},
            "outputs": {
                port.file_name: {**store(folder, port, tensors), "mean_abs": allowance(port, tensors, recipe)}
                for port in entry.outputs
            },
        }
    write_text(folder / FOLDER / "golden.json", dump_json(content))
    return content


def store(folder: Path, port: Port, tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Write one tensor as the port has it, and return its row of golden.json."""
    value = to_file(port, tensors[port.name])
    name = f"{port.name}.{port.layout.lower()}.{port.dtype}.bin"
    path = folder / FOLDER / name
    path.parent.mkdir(exist_ok=True)
    little = value.astype(value.dtype.newbyteorder("<"))
    path.write_bytes(little.tobytes())
    return {"file": name, "shape": list(port.shape), "layout": port.layout, "dtype": port.dtype}


def allowance(port: Port, tensors: Mapping[str, Array], recipe: Recipe) -> float:
    """Return the mean absolute error that an app should accept, in the file's units."""
    value = tensors[port.name].astype(np.float64)
    value = value[np.isfinite(value)] if not np.isfinite(value).all() else value
    span = port.range[1] - port.range[0] if port.range else float(np.ptp(value) if value.size else 0.0) or 1.0
    return float(f"{tolerance(recipe) * span * port.scale:.3g}")
