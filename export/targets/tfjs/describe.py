"""Read the facts that `inspect` shows from a saved graph model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hydramobile.errors import StageError
from hydramobile.files import inside, read_json

STAGE = "inspect"
BYTES = {"float32": 4, "int32": 4, "float16": 2, "uint16": 2, "uint8": 1, "bool": 1}
DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_BOOL": "bool"}


def describe_model(path: Path) -> dict[str, Any]:
    """Return format, metadata, entries, weight bytes per dtype, node counts and shards of a graph model.

    `path` is a model.json or its folder. Raises StageError("inspect") for a damaged model: no graph model, a shard that
    is missing, or shards of another size than the manifest lists.
    """
    file = path / "model.json" if path.is_dir() else path
    content = read_json(file, STAGE)
    try:
        nodes, manifest = content["modelTopology"]["node"], content["weightsManifest"]
        weights = [row for group in manifest for row in group["weights"]]
        shards = [name for group in manifest for name in group["paths"]]
        ports = {side: signature_tensors(content["signature"][side]) for side in ("inputs", "outputs")}
        stored = weight_bytes(weights)
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(STAGE, f"{file} is not a TF.js graph model: {type(error).__name__}: {error}") from error
    metadata = content.get("userDefinedMetadata", {})
    check_shards(file, shards, sum(stored.values()))
    return {
        "format": "TF.js graph model",
        "metadata": {key: value for key, value in metadata.items() if key != "tensors"},
        "entries": {metadata.get("entry", file.parent.name): add_descriptions(ports, metadata.get("tensors", {}))},
        "weight_bytes": stored,
        "ops": dict(sorted(Counter(node["op"] for node in nodes if node["op"] != "Const").items())),
        "shards": shards,
    }


def check_shards(file: Path, shards: list[str], expected: int) -> None:
    """Raise StageError where a shard is missing, or the shards do not hold `expected` bytes together."""
    for name in shards:
        if not inside(file.parent, name, STAGE).is_file():
            raise StageError(STAGE, f"{file} names the shard {name}, which does not exist")
    size = sum((file.parent / name).stat().st_size for name in shards)
    if size != expected:
        raise StageError(STAGE, f"{file} describes {expected} weight bytes, its shards hold {size}")


def signature_tensors(tensors: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "shape": [int(dim["size"]) for dim in tensor["tensorShape"]["dim"]],
            "dtype": DTYPES[tensor["dtype"]],
        }
        for name, tensor in tensors.items()
    ]


def add_descriptions(ports: dict[str, list[dict[str, Any]]], described: dict[str, Any]) -> dict[str, Any]:
    return {
        side: [{**row, "description": described.get(row["name"], {}).get("description", "")} for row in rows]
        for side, rows in ports.items()
    }


def weight_bytes(weights: list[dict[str, Any]]) -> dict[str, int]:
    """Return the bytes of all weights per stored dtype."""
    total: Counter[str] = Counter()
    for row in weights:
        dtype = row.get("quantization", row)["dtype"]
        total[dtype] += BYTES[dtype] * int(np.prod(row["shape"], dtype=np.int64))
    return dict(sorted(total.items()))
