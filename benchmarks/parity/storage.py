"""Check that the weights in an artifact's files have the storage dtype that the recipe names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.evidence.parity import Facts, ParityRow
from benchmarks.parity.rows import failed
from benchmarks.runtime import Runtime
from hydramobile.artifact import Artifact, Entry
from hydramobile.errors import HydraError
from hydramobile.recipes import recipe

# Share of weight elements that must be stored in the recipe's dtype. Biases, and a layer kept in float for accuracy,
# may differ; a file that is mostly stored in another dtype is misnamed.
STORED = 0.85
# For a named recipe: of the elements that artifact.json lists for a dtype, the share that must be stored in it.
STORED_LAYERS = 0.99
FLOATS = {32: ("float32",), 16: ("float16",)}
# Dtypes of shapes, indices, masks and integer biases. No recipe stores a weight in them.
NO_WEIGHTS = frozenset({"int32", "uint32", "int64", "uint64", "bool"})


def judge_storage(
    base: ParityRow, artifact: Artifact, reader: tuple[Runtime, Path], entries: Sequence[Entry], parameters: int
) -> ParityRow:
    """Judge the storage dtypes of the weights in the files of one variant, as `reader` (runtime, folder) reads them.

    All modules count together: an integer recipe may keep a small module's weights in float. A file holds other
    float32 constants too, such as a mean in the shape of a row, which outnumber the weights of a tiny net. They do not
    count beyond the `parameters` elements that the model has; 0 if their number is not known.
    """
    runtime, folder = reader
    row = replace(base, entry=entries[0].variant, mode="dtypes")
    try:
        stored = count_bytes(runtime, folder, entries)
    except HydraError as error:
        return failed(base, error, row.entry, "dtypes")
    row = replace(row, facts=Facts(weight_bytes=stored))
    elements = {dtype: count / width(dtype) for dtype, count in stored.items() if dtype not in NO_WEIGHTS}
    total = sum(elements.values())
    if not total:
        return replace(row, reason="no weights")
    if artifact.layers:
        reason = layers_lost(artifact, elements)
        return replace(row, verdict="mismatch" if reason else "pass", reason=reason)
    chosen = recipe(artifact.recipe)
    if chosen.sparsity:
        total -= elements.pop("uint1", 0.0)  # the masks of the nonzero elements
    wanted = wanted_dtypes(chosen.scheme, chosen.weight_bits)
    if parameters and "float32" not in wanted:
        total -= min(elements.get("float32", 0.0), max(0.0, total - parameters))
    share = sum(count for dtype, count in elements.items() if dtype in wanted) / total
    if share >= STORED:
        return row
    reason = f"{share:.0%} of the weights are {' or '.join(wanted)}; found {stored}"
    return replace(row, verdict="mismatch", reason=reason)


def layers_lost(artifact: Artifact, elements: Mapping[str, float]) -> str:
    """Return why the files cannot hold the layers that artifact.json lists (too few elements of a dtype), else ""."""
    asked: dict[tuple[str, ...], int] = {}
    for layer in artifact.layers.values():
        stored = recipe(layer["recipe"])
        wanted = wanted_dtypes(stored.scheme, stored.weight_bits)
        asked[wanted] = asked.get(wanted, 0) + layer["values"]
    for wanted, count in asked.items():
        found = sum(number for dtype, number in elements.items() if dtype in wanted)
        if found < STORED_LAYERS * count:
            named = " or ".join(wanted)
            return f"{count} weights must be stored as {named}; the files hold {found:.0f} of them"
    return ""


def count_bytes(runtime: Runtime, folder: Path, entries: Sequence[Entry]) -> dict[str, int]:
    """Return weight bytes by dtype over the single-module entries.

    Fused entries are left out, because they hold the same weights again.
    """
    total: dict[str, int] = {}
    for entry in [entry for entry in entries if len(entry.modules) == 1] or entries:
        for dtype, count in runtime.read_dtypes(folder, entry).items():
            total[dtype] = total.get(dtype, 0) + count
    return total


def width(dtype: str) -> float:
    """Return the bytes per element of a dtype given by name: .5 for "int4", 1 for "bool"."""
    bits = re.search(r"\d+$", dtype)
    return int(bits[0]) / 8 if bits else 1.0


def wanted_dtypes(scheme: str, bits: int) -> tuple[str, ...]:
    if scheme in ("float", "sparse"):
        return FLOATS[bits]
    return ("int8", "uint8") if bits == 8 else ("int16", "uint16") if bits == 16 else (f"int{bits}", f"uint{bits}")
