"""Calibrate a graph: the ranges of its tensors over the calibration samples, cached on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from export.program import Program
from export.quantize.observers import Range, RangeObserver
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, read_json, set_aside, sha256_bytes, write_text
from hydramobile.recipes import Recipe
from hydramobile.toml_table import Table

Ranges = dict[str, Range]


def calibrated_ranges(program: Program, recipe: Recipe, graph: str, observe: Callable[[RangeObserver], None]) -> Ranges:
    """Return the range of every tensor that `observe` shows to an observer of the recipe's method.

    The program's cache holds ranges measured before with the same weights, samples, method and code. `graph` identifies
    the graph among the graphs of the program.
    """
    key = [graph, recipe.method, recipe.equalized and recipe.weight_bits, sorted(program.calibration_hashes)]
    path = program.cache.folder / f"{sha256_bytes(canonical_json([program.cache.stamp, *key]).encode())}.json"
    if program.cache.stamp and path.is_file():
        try:
            return read_ranges(path)
        except StageError as error:  # the samples are there: measure again, and replace the file
            set_aside(path, str(error))
    observer = RangeObserver(recipe.method)
    observe(observer)
    ranges = observer.ranges()
    if program.cache.stamp:
        content = dict(sorted(ranges.items()))
        write_text(path, dump_json({"sha256": content_hash(content), "ranges": content}))
    return ranges


def read_ranges(path: Path) -> Ranges:
    """Read a file of the cache. Raises StageError("quantize") when its content does not match its own hash.

    The input hash of an artifact does not cover the cache, so an edited or damaged file would change the artifact's
    bytes silently.
    """
    table = Table(read_json(path, "quantize"), str(path), "quantize")
    found, stored = table.table("ranges"), table.string("sha256")
    if content_hash(dict(found.data)) != stored:
        raise table.error("was changed since it was written: its sha256 does not match its ranges")
    table.done()
    ranges: Ranges = {}
    for name in found.data:
        low, high = found.items(name)
        ranges[name] = (float(low), float(high))
    return ranges


def content_hash(ranges: Mapping[str, Any]) -> str:
    """Return the hash of ranges as JSON, or "" where they hold NaN or infinity."""
    try:
        return sha256_bytes(canonical_json(ranges).encode())
    except ValueError:
        return ""


def require_samples(program: Program, recipe: Recipe) -> None:
    """Raise StageError("quantize") when the program has no calibration samples."""
    if not program.calibration:
        raise StageError(
            "quantize",
            f"{recipe.name} needs calibration samples, and the program has none; "
            'list photos with split = "calibrate" in the model\'s samples.toml or name a folder with --calibrate',
        )
