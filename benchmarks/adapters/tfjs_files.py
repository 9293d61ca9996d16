"""Read TF.js graph models: topology, signature, and the weights stored in the shards.

The reader follows the format's public description, and needs neither TF.js nor TensorFlow.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime import Array
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import inside, read_json

STAGE = "open"
# Constants of up to this many elements are scales, shapes or biases, not weights.
SMALL = 16
STORED = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "uint8": "u1", "uint16": "<u2", "bool": "?"}


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One weight: `dtype` in the graph, `stored` in the shard; if quantized, element = code * scale + low."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    scale: float | None
    low: float

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        return self.size * np.dtype(STORED[self.stored]).itemsize


@dataclass(frozen=True, slots=True)
class GraphModel:
    file: Path
    topology: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[WeightRow, ...]
    shards: tuple[Path, ...]


def read_graph_model(folder: Path, entry: Entry) -> GraphModel:
    """Read the model.json of `entry`, and check that its shards exist and have the right length.

    Raises StageError("open"), which names the file, if it is malformed, a shard is missing or has another length, or a
    tensor of the entry is absent.
    """
    file = inside(folder, entry.file, STAGE)
    content = read_json(file, STAGE)
    try:
        rows = tuple(read_row(row) for group in content["weightsManifest"] for row in group["weights"])
        paths = [path for group in content["weightsManifest"] for path in group["paths"]]
        shards = tuple(inside(file.parent, path, STAGE) for path in paths)
        sides = [tuple(content["signature"][side]) for side in ("inputs", "outputs")]
        topology = {"node": list(content["modelTopology"]["node"]), "versions": {"producer": 987}}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StageError(STAGE, f"{file} is not a TF.js graph model: {type(error).__name__}: {error}") from error
    for shard in shards:
        if not shard.is_file():
            raise StageError(STAGE, f"{shard} is missing; {file.name} names it")
    stored, needed = sum(shard.stat().st_size for shard in shards), sum(row.bytes for row in rows)
    if stored != needed:
        raise StageError(STAGE, f"the shards of {file} hold {stored} bytes, its weights need {needed}")
    model = GraphModel(file, topology, sides[0], sides[1], rows, shards)
    for names, ports in ((model.inputs, entry.inputs), (model.outputs, entry.outputs)):
        for port in ports:
            if port.file_name not in names:
                raise StageError(STAGE, f"{file} has no tensor {port.file_name!r} (has: {', '.join(sorted(names))})")
    return model


def read_row(row: dict[str, Any]) -> WeightRow:
    coded = row.get("quantization")
    weight = WeightRow(
        name=str(row["name"]),
        shape=tuple(int(size) for size in row["shape"]),
        dtype=str(row["dtype"]),
        stored=str(coded["dtype"] if coded else row["dtype"]),
        scale=float(coded["scale"]) if coded and "scale" in coded else None,
        low=float(coded.get("min", 0.0)) if coded else 0.0,
    )
    if weight.stored not in STORED or weight.dtype not in STORED:
        raise ValueError(f"weight {weight.name!r} has the unknown dtype {weight.stored!r}")
    return weight


def read_weights(model: GraphModel) -> dict[str, Array]:
    """Return every weight by name, decoded to its dtype in the graph."""
    data = b"".join(shard.read_bytes() for shard in model.shards)
    weights: dict[str, Array] = {}
    start = 0
    for row in model.rows:
        codes = np.frombuffer(data, STORED[row.stored], row.size, start).reshape(row.shape)
        start += row.bytes
        # TF.js computes in float32, in this order.
        value = codes if row.scale is None else codes.astype(np.float32) * np.float32(row.scale) + np.float32(row.low)
        weights[row.name] = value.astype(row.dtype)
    return weights


def weight_dtypes(model: GraphModel) -> dict[str, int]:
    """Return the bytes of large constants by storage dtype."""
    total: Counter[str] = Counter()
    for row in model.rows:
        if row.size > SMALL:
            total[row.stored] += row.bytes
    return dict(sorted(total.items()))
