"""Facts read back from a saved graph model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hydramobile.errors import StageError
from hydramobile.files import inside, read_json

STAGE = "inspect"
BYTES = {"float32": 4, "int32": 4, "float16": 2, "uint16": 2, "uint8": 1, "bool": 1}


def describe_model(path: Path) -> dict[str, Any]:
    """`path` is a model.json or the folder that holds it. Raises StageError("inspect") when it is damaged."""
    file = path / "model.json" if path.is_dir() else path
    content = read_json(file, STAGE)
    try:
        nodes, manifest = content["modelTopology"]["node"], content["weightsManifest"]
        weights = [row for group in manifest for row in group["weights"]]
        shards = [name for group in manifest for name in group["paths"]]
        sides = {side: tensors(content["signature"][side]) for side in ("inputs", "outputs")}
        stored = weight_bytes(weights)
    except (KeyError, TypeError, ValueError) as error:
        raise StageError(STAGE, f"{file} is not a TF.js graph model: {type(error).__name__}: {error}") from error
    about = content.get("userDefinedMetadata", {})
    for name in shards:
        if not inside(file.parent, name, STAGE).is_file():
            raise StageError(STAGE, f"{file} names the shard {name}, which does not exist")
    found = sum((file.parent / name).stat().st_size for name in shards)
    if found != sum(stored.values()):
        raise StageError(STAGE, f"{file} describes {sum(stored.values())} weight bytes, its shards hold {found}")
    return {
        "format": "TF.js graph model",
        "metadata": {key: value for key, value in about.items() if key != "tensors"},
        "entries": {about.get("entry", file.parent.name): describe_sides(sides, about.get("tensors", {}))},
        "weight_bytes": stored,
        "ops": dict(sorted(Counter(node["op"] for node in nodes if node["op"] != "Const").items())),
        "shards": shards,
    }


def tensors(side: dict[str, Any]) -> list[dict[str, Any]]:
    names = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_BOOL": "bool"}
    return [
        {
            "name": name,
            "shape": [int(dim["size"]) for dim in tensor["tensorShape"]["dim"]],
            "dtype": names[tensor["dtype"]],
        }
        for name, tensor in side.items()
    ]


def describe_sides(sides: dict[str, list[dict[str, Any]]], about: dict[str, Any]) -> dict[str, Any]:
    return {
        side: [{**row, "description": about.get(row["name"], {}).get("description", "")} for row in rows]
        for side, rows in sides.items()
    }


def weight_bytes(weights: list[dict[str, Any]]) -> dict[str, int]:
    """Bytes by storage dtype."""
    total: Counter[str] = Counter()
    for row in weights:
        dtype = row.get("quantization", row)["dtype"]
        total[dtype] += BYTES[dtype] * int(np.prod(row["shape"], dtype=np.int64))
    return dict(sorted(total.items()))
