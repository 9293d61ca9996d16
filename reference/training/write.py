"""Write a set of views: whole shards, then the index with their hashes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydramobile.files import canonical_json, dump_json, sha256_bytes, write_bytes, write_text
from reference.training.views import ARRAYS, OPTIONAL, SCHEMA


def write_shard(folder: Path, number: int, arrays: Mapping[str, NDArray[Any]], about: Sequence[Any]) -> dict[str, Any]:
    """Write shard `number` and its JSON lines; return its row of the index."""
    buffer = io.BytesIO()
    wanted = ARRAYS | {name: dtype for name, dtype in OPTIONAL.items() if name in arrays}
    stored: dict[str, Any] = {name: np.ascontiguousarray(arrays[name].astype(dtype)) for name, dtype in wanted.items()}
    np.savez(buffer, **stored)
    data = buffer.getvalue()
    name = f"shards/{number:04d}.npz"
    write_text(folder / f"shards/{number:04d}.jsonl", "".join(json.dumps(line) + "\n" for line in about))
    write_bytes(folder / name, data)
    # The zip holds the time of writing, so the content hash covers the arrays instead.
    content = hashlib.sha256()
    for array in wanted:
        content.update(stored[array].tobytes())
    return {"file": name, "views": len(about), "sha256": sha256_bytes(data), "content": content.hexdigest()}


def write_index(folder: Path, kind: str, seed: int, size: tuple[int, int], shards: Sequence[Mapping[str, Any]]) -> None:
    """Write index.json, which completes the set."""
    index = {
        "schema": SCHEMA,
        "kind": kind,
        "seed": seed,
        "views": sum(int(shard["views"]) for shard in shards),
        "height": size[0],
        "width": size[1],
        "content_hash": sha256_bytes(canonical_json([shard["content"] for shard in shards]).encode()),
        "shards": [{key: shard[key] for key in ("file", "views", "sha256")} for shard in shards],
    }
    write_text(folder / "index.json", dump_json(index))
