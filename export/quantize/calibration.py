"""Calibrate a graph: the ranges of its tensors over the calibration samples, cached on disk."""

from __future__ import annotations

from collections.abc import Callable

from export.program import Program
from export.quantize.observers import Range, RangeObserver
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text
from hydramobile.recipes import Recipe

Ranges = dict[str, Range]


def calibrated_ranges(program: Program, recipe: Recipe, graph: str, observe: Callable[[RangeObserver], None]) -> Ranges:
    """Return the range of every tensor that `observe` shows to an observer of the recipe's method.

    The program's cache holds ranges measured before with the same weights, samples, method and code. `graph` identifies
    the graph among the graphs of the program.
    """
    key = [graph, recipe.method, recipe.equalized and recipe.weight_bits, sorted(program.calibration_hashes)]
    path = program.cache.folder / f"{sha256_bytes(canonical_json([program.cache.stamp, *key]).encode())}.json"
    if program.cache.stamp and path.is_file():
        return {name: (float(low), float(high)) for name, (low, high) in read_json(path, "quantize").items()}
    observer = RangeObserver(recipe.method)
    observe(observer)
    ranges = observer.ranges()
    if program.cache.stamp:
        write_text(path, dump_json(dict(sorted(ranges.items()))))
    return ranges


def require_samples(program: Program, recipe: Recipe) -> None:
    """Raise StageError("quantize") when the program has no calibration samples."""
    if not program.calibration:
        raise StageError(
            "quantize",
            f"{recipe.name} needs calibration samples, and the program has none; "
            'list photos with split = "calibrate" in the model\'s samples.toml or name a folder with --calibrate',
        )
