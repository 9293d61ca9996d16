"""Compare the weights of a saved file, decoded from its bytes, with the weights that its recipe should store.

A small file proves nothing: it may be small because a tensor is broken. So every weight that a target wrote is decoded
again, and its storage type, its zeros and its values are compared with the weight before the recipe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.verify.expected import Array, Expected, expect, floor_db
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

STAGE = "readback"
# Share of the elements that may be stored in another type than the recipe's without a record of each weight.
UNLIKE = 0.1
# The recipe that stores a weight in a type.
RECIPES = {
    "float32": "float32",
    "float16": "float16",
    **{f"{sign}int{bits}": f"w{bits}" for sign in ("", "u") for bits in (4, 8, 16)},
}


@dataclass(frozen=True, slots=True)
class Saved:
    """A weight as the saved file holds it: `values` decoded, in the file's layout.

    `storage` is the type of its codes ("int8", "float16"), or "palette4" for indices into tables of 2**4 values.
    """

    name: str
    values: Array
    storage: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A saved weight compared with the original: `elements` of them, `zeros` the share that is zero, and the SNR."""

    name: str
    storage: str
    elements: int
    zeros: float
    snr_db: float


def compare(
    target: str, recipe: Recipe, saved: Iterable[Saved], originals: Mapping[str, Expected]
) -> tuple[Compared, ...]:
    """Compare every weight of the saved files with its `Expected`. Return the comparisons, the worst first.

    Raises StageError("readback") naming the weights that are missing, stored in another type than the recipe's, too
    dense, or further from the original than the recipe's bits allow.
    """
    rows: list[Compared] = []
    faults: list[str] = []
    seen: set[str] = set()
    for item in saved:
        expected = originals.get(item.name)
        if expected is None:
            continue  # the recipe itself made it: a scale, a table
        seen.add(item.name)
        row, fault = compare_weight(item, expected)
        rows.append(row)
        if fault:
            faults.append(f"{item.name!r} {fault}")
    faults += [
        f"{name!r} is not in the file"
        for name, expected in originals.items()
        if name not in seen and not any(alike(expected, originals[other]) for other in seen)
    ]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        text = "; ".join(faults[:3])
        raise StageError(STAGE, f"{target} {recipe.name}: the saved file is not what its recipe says: {text}{more}")
    return tuple(sorted(rows, key=lambda row: (row.snr_db, row.name)))


def alike(one: Expected, other: Expected) -> bool:
    """Return whether a format may store both weights once, under either name: equal values in the same types."""
    return one.storage == other.storage and np.array_equal(one.values, other.values)


def compare_weight(item: Saved, expected: Expected) -> tuple[Compared, str]:
    """Return the comparison and its fault, "" where there is none."""
    zeros = float(np.mean(item.values == 0)) if item.values.size else 0.0
    if item.values.shape != expected.values.shape:
        row = Compared(item.name, item.storage, int(item.values.size), zeros, float("-inf"))
        return row, f"has shape {list(item.values.shape)}, not {list(expected.values.shape)}"
    snr, least = snr_db(item.values, expected.values), floor_db(expected)
    row = Compared(item.name, item.storage, int(item.values.size), zeros, snr)
    if item.storage not in expected.storage:
        return row, f"is stored as {item.storage}, not as {' or '.join(expected.storage)}"
    if zeros * 100 < expected.sparsity - 100 / item.values.size:
        return row, f"has {zeros:.1%} zeros, not {expected.sparsity} %"
    if snr < least:
        return row, (f"decodes to {snr:.1f} dB of the original; {expected.bits} bits give {least:.1f} dB at least")
    return row, ""


def snr_db(values: Array, original: Array) -> float:
    """Return 10 log10(signal / noise), 999 for equal values.

    Elements that are NaN or infinite in the original, such as the -inf of a mask, must be equal. Any other NaN or
    infinite element is noise without bound.
    """
    decoded, truth = values.astype(np.float64), original.astype(np.float64)
    finite = np.isfinite(truth)
    if not np.array_equal(decoded[~finite], truth[~finite], equal_nan=True):
        return float("-inf")
    noise = float(np.sum((decoded[finite] - truth[finite]) ** 2))
    signal = float(np.sum(truth[finite] ** 2))
    if not np.isfinite(noise):
        return float("-inf")
    if noise == 0:
        return 999.0
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


def stored_layers(rows: Sequence[Compared], recipe: Recipe, modules: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return how each weight of the `modules` is stored: name -> {"recipe", "values"}; none where nearly all are alike.

    A small net, one of few large weights, or one whose weights the recipe's type cannot hold, keeps many weights in
    another type than the recipe's. Parity then compares the files with this record.
    """
    own = [row for row in rows if row.name.partition("/")[0] in modules]
    wanted = expect(np.zeros(0), recipe).storage
    kept = sum(row.elements for row in own if row.storage not in wanted)
    if kept <= UNLIKE * sum(row.elements for row in own):
        return {}
    return {
        row.name: {"recipe": recipe.name if row.storage in wanted else RECIPES[row.storage], "values": row.elements}
        for row in own
        if row.storage in wanted or row.storage in RECIPES
    }


def summary(rows: Sequence[Compared]) -> tuple[str, ...]:
    """Return the note for artifact.json, none without weights: storage types by share, the weight that lost most."""
    if not rows:
        return ()
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.storage] += row.elements
    total = sum(counts.values())
    shares = ", ".join(f"{count / total:.1%} {name}" for name, count in counts.most_common())
    zeros = sum(row.zeros * row.elements for row in rows) / total
    worst = rows[0]
    text = f"read back from the saved bytes: {len(rows)} weights, {shares}"
    if zeros >= 0.05:
        text += f", {zeros:.1%} zeros"
    lost = "all equal the originals" if worst.snr_db >= 999 else f"worst: {worst.name}, {worst.snr_db:.1f} dB"
    return (f"{text}; {lost}",)
