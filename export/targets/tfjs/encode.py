"""Write a finished graph as files: weights in a recipe's storage type, shards, model.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export.program import Program
from export.quantize.half_range import holds
from export.targets.tfjs.channels import STEP, ZERO, channel_axes, split
from export.targets.tfjs.graph import DTYPES, Array
from export.targets.tfjs.lower import Lowered, Weight
from hydramobile.artifact import Port
from hydramobile.files import write_bytes, write_text
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

# Browsers cache and fetch pieces of this size well; the format's own converter uses it too.
SHARD = 4 << 20
# Under w8, kernels of fewer elements than this, and depthwise ones, keep 16 bits. The format has one scale per tensor.
# Depthwise kernels (a folded batch norm gives each channel its own range) and the narrow layers at the ends of a net
# suffer most from that, and they are few. On the portrait 0.1.0 this took the matte's IoU from .919 to .996 for 11 %
# more bytes. On 0.3.0 it gives .979, and more would take so many kernels at 16 bits that w8 would not be 8 bits.
EIGHT_BIT_VALUES = 1 << 14
# The signal-to-noise ratio of a row or a column of a matrix, below which it keeps 16 bits under w8: an even matrix of
# normal elements has 41 dB.
LEAST_DB = 20.0
MASKED = 1e30
TFJS = "4.22.0"


@dataclass(frozen=True, slots=True)
class Stored:
    """The manifest row of a weight, and its bytes."""

    row: dict[str, Any]
    data: bytes


def storage(recipe: Recipe) -> str:
    """Return the storage type of kernels under a recipe."""
    if recipe.base:
        return "float32"  # of kernels that belong to no layer
    if recipe.scheme == "float":
        return "float32" if recipe.weight_bits == 32 else "float16"
    return "uint8" if recipe.weight_bits == 8 else "uint16"


def sensitive(kernel: Array) -> bool:
    """Return whether 8 bits are too few for this kernel.

    It is small, or depthwise, [H, W, channels, 1], or a matrix of uneven rows: a table of embeddings.
    """
    small = kernel.size < EIGHT_BIT_VALUES or (kernel.ndim == 4 and kernel.shape[3] == 1)
    return small or (kernel.ndim == 2 and uneven(kernel))


def uneven(matrix: Array) -> bool:
    """Return whether one scale of 8 bits leaves a tenth of the rows or of the columns less than LEAST_DB."""
    values = matrix.astype(np.float64)
    step = (max(values.max(), 0.0) - min(values.min(), 0.0)) / 255
    powers = [np.mean(values**2, axis=axis) for axis in (0, 1)]
    return any(
        np.quantile(power[power > 0], 0.1) < step**2 / 12 * 10 ** (LEAST_DB / 10) for power in powers if power.any()
    )


def mask(kernel: Array) -> bool:
    """Return whether the kernel holds the scores of a mask, which no grid of steps holds: -inf, or finfo.min."""
    return not bool(np.isfinite(kernel).all()) or float(np.abs(kernel).max(initial=0.0)) > MASKED


def kernel_storage(kernel: Array, recipe: Recipe) -> str:
    """Return the storage type, under a recipe, of a kernel that stays one tensor."""
    codes = storage(recipe)
    if (codes == "float16" and not holds(kernel)) or (codes.startswith("uint") and mask(kernel)):
        return "float32"
    return "uint16" if codes == "uint8" and sensitive(kernel) else codes


def by_channel(lowered: Lowered, recipe: Recipe, least: int) -> dict[str, tuple[int, ...]]:
    """Return the kernels that the recipe stores with a scale per channel, and the axes of their channels.

    Under w8g1 they are the kernels of `least` elements and more that w8 would keep at 16 bits.
    """
    if not recipe.block:
        return {}
    axes = channel_axes(lowered.nodes)
    kernels = {weight.name: weight.value for weight in lowered.weights if weight.kernel}
    return {
        name: axes[name]
        for name, value in kernels.items()
        if name in axes and value.size >= least and sensitive(value) and value.dtype == np.float32
    }


def encode(weight: Weight, storage: str, codes: Array | None = None) -> Stored:
    """Encode a kernel in the type `storage`, and any other weight in its own dtype.

    Biases, scales and shapes are few and sensitive. `codes` are the codes of a kernel with a scale per channel
    (channels.py).
    """
    value = weight.value
    row: dict[str, Any] = {"name": weight.name, "shape": list(value.shape), "dtype": str(value.dtype)}
    if codes is not None:
        row["quantization"] = {"dtype": "uint8", "min": -ZERO * STEP, "scale": STEP, "original_dtype": "float32"}
        return Stored(row, little(codes))
    if value.dtype != np.float32 or not weight.kernel or storage == "float32":
        return Stored(row, little(value))
    if storage == "float16":
        row["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        # An element beyond float16's range would become infinite.
        return Stored(row, little(np.clip(value, -65504, 65504).astype(np.float16)))
    codes, scale, low = affine(value, 255 if storage == "uint8" else 65535)
    row["quantization"] = {"dtype": storage, "min": low, "scale": scale, "original_dtype": "float32"}
    return Stored(row, little(codes.astype(storage)))


def affine(value: Array, top: int) -> tuple[Array, float, float]:
    """Return the codes 0..top, the scale and the low of value = low + code * scale; zero is a code and stays zero."""
    low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    # The reader multiplies in float32 (TF.js) or float64: scale and low are exact in both.
    scale = float(np.float32((high - low) / top)) or 1.0
    zero = round(-low / scale)
    codes = np.clip(np.round(value.astype(np.float64) / scale) + zero, 0, top)
    return codes, scale, -zero * scale


def little(value: Array) -> bytes:
    """Return the elements as little-endian bytes."""
    return np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<")).tobytes()


@dataclass(frozen=True, slots=True)
class Style:
    """How weights are stored: under `recipe`, kernels of fewer than `least` elements never at 8 bits per channel.

    `storage` holds the types that a named recipe gives to weights, by the weight's name.
    """

    recipe: Recipe
    least: int = 0
    storage: Mapping[str, str] = field(default_factory=dict)


def write_model(folder: Path, lowered: Lowered, style: Style, ports: Ports, about: dict[str, Any]) -> None:
    """Write model.json and its shards into `folder`. Equal graphs give equal bytes."""
    lowered, codes = split(lowered, by_channel(lowered, style.recipe, style.least))
    stored = [
        encode(
            weight,
            style.storage.get(weight.name) or kernel_storage(weight.value, style.recipe),
            codes.get(weight.name),
        )
        for weight in lowered.weights
    ]
    data = b"".join(item.data for item in stored)
    count = max(1, -(-len(data) // SHARD))
    paths = [f"group1-shard{index + 1}of{count}.bin" for index in range(count)]
    for index, path in enumerate(paths):
        write_bytes(folder / path, data[index * SHARD : (index + 1) * SHARD])
    content = {
        "format": "graph-model",
        "generatedBy": "hydra-mobile",
        "convertedBy": "hydra-mobile",
        "signature": {"inputs": signature(ports.inputs), "outputs": signature(ports.outputs)},
        "userDefinedMetadata": about,
        # The producer is the GraphDef version of TensorFlow 2; readers only compare it with a minimum.
        "modelTopology": {"node": list(lowered.nodes), "library": {}, "versions": {"producer": 987}},
        "weightsManifest": [{"paths": paths, "weights": [item.row for item in stored]}],
    }
    write_text(folder / "model.json", json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")


@dataclass(frozen=True, slots=True)
class Ports:
    """The inputs and outputs of an entry as the files have them."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def signature(ports: Sequence[Port]) -> dict[str, Any]:
    """Return one side of the signature of model.json."""
    return {
        port.file_name: {
            "name": f"{port.file_name}:0",
            "dtype": DTYPES[port.dtype],
            "tensorShape": {"dim": [{"size": str(size)} for size in port.shape]},
        }
        for port in ports
    }


def metadata(program: Program, entry: EntrySpec, recipe: Recipe, ports: Ports) -> dict[str, Any]:
    """Return the metadata that an app reads through `model.metadata`."""
    spec = program.spec
    tensors = {
        port.file_name: {
            "shape": list(port.shape),
            "layout": port.layout,
            "dtype": port.dtype,
            "range": list(port.range) if port.range else None,
            "description": port.description,
        }
        for port in (*ports.inputs, *ports.outputs)
    }
    return {
        "name": spec.name,
        "version": spec.version,
        "license": spec.license,
        "authors": list(spec.authors),
        "description": entry.description or spec.description,
        "entry": entry.name,
        "recipe": recipe.name,
        "tfjs": TFJS,
        "tensors": tensors,
    }
