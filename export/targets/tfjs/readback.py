"""Decode the weights of a saved graph model, and state how a recipe should store each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from export.program import Program
from export.targets.tfjs.channels import CODES, SCALES
from export.targets.tfjs.describe import describe_model
from export.targets.tfjs.encode import by_channel, kernel_storage
from export.targets.tfjs.graph import Array
from export.targets.tfjs.lower import Lowered
from export.verify.expected import Expected, expect, expect_layer, expect_unchanged, recipe_finder
from export.verify.readback import STAGE, Saved
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.files import read_json
from hydramobile.recipes import Recipe

STORED = {"float32": "<f4", "int32": "<i4", "float16": "<f2", "uint16": "<u2", "uint8": "u1", "bool": "?"}


def read_weights(folder: Path, entries: tuple[Entry, ...]) -> Iterator[Saved]:
    """Yield every constant, as "<entry id>/<name>"; kernels with a scale per channel are multiplied out."""
    for entry in entries:
        describe_model(folder / entry.file)  # the shards hold what the manifest lists
        content = read_json(folder / entry.file, STAGE)
        rows = [row for group in content["weightsManifest"] for row in group["weights"]]
        paths = [path for group in content["weightsManifest"] for path in group["paths"]]
        data = b"".join(((folder / entry.file).parent / path).read_bytes() for path in paths)
        values = dict(decode(rows, data))
        products = {node["name"]: node["input"] for node in content["modelTopology"]["node"] if node["op"] == "Mul"}
        for name, inputs in products.items():
            if inputs == [f"{name}/{CODES}", f"{name}/{SCALES}"]:
                codes, storage = values.pop(inputs[0])
                values[name] = codes * values.pop(inputs[1])[0], storage
        yield from (Saved(f"{entry.id}/{name}", value, storage) for name, (value, storage) in values.items())


def decode(rows: list[dict[str, Any]], data: bytes) -> Iterator[tuple[str, tuple[Array, str]]]:
    """Yield each weight's name, its value as TF.js decodes it, and its storage type."""
    start = 0
    for row in rows:
        coding = row.get("quantization", {})
        storage = coding.get("dtype", row["dtype"])
        if storage not in STORED:
            raise StageError(STAGE, f"weight {row['name']!r} is stored in the unknown type {storage!r}")
        codes = np.frombuffer(data, STORED[storage], int(np.prod(row["shape"], dtype=np.int64)), start)
        start += codes.nbytes
        value = codes.reshape(row["shape"])
        if "scale" in coding:
            value = (value * float(coding["scale"]) + float(coding.get("min", 0.0))).astype(np.float32)
        yield row["name"], (value, storage)


def originals(program: Program, entry: str, lowered: Lowered, recipe: Recipe) -> dict[str, Expected]:
    """Return the kernels of an entry's graph, and how `recipe` stores each."""
    channels = by_channel(lowered, recipe, program.least_quantized())
    recipe_of = recipe_finder(program, recipe, "tfjs") if recipe.base else None
    expected: dict[str, Expected] = {}
    for weight in lowered.weights:
        if weight.value.dtype != np.float32 or not weight.kernel:
            continue
        name, storage = f"{entry}/{weight.name}", kernel_storage(weight.value, recipe)
        if recipe_of is not None:
            expected[name] = expect_layer(weight.value, recipe_of(weight.value), storage)
        elif weight.name not in channels and storage in ("uint16", "float32"):
            expected[name] = expect_unchanged(weight.value, storage)
        else:
            expected[name] = expect(weight.value, recipe)
    return expected
