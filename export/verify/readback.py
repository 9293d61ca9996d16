"""Reading a quantized export back: storage types, palettes, zeros and values, from the saved bytes.

A small file proves nothing: it may be small because a tensor is broken. So every weight that a target wrote is decoded
again and compared with the weight that was to be stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.layers import assign, find_layers, fingerprint
from hydramobile.errors import StageError
from hydramobile.recipes import CALIBRATED_BITS, Recipe

STAGE = "readback"
Array = NDArray[np.generic]
# What a tensor may lose against rounding it to the recipe's bits with one even grid: kernels of a format round scales,
# and k-means stops early.
SLACK_DB = 3.0
# Rounding with calibration samples moves weights so that outputs move less: a weight that no input needs may go far, so
# of such a tensor only noise and wrong tables are faults.
CALIBRATED_DB = 100.0
# A weight of no information at all has 0 dB. Even a table of two values keeps the signs.
LEAST_DB = 0.5
# float16 carries 11 bits (68 dB); tensors whose values lie below its normal range carry fewer.
HALF_DB = 40.0
EXACT_DB = 120.0


@dataclass(frozen=True, slots=True)
class Saved:
    """A weight as the saved file holds it. `values`: decoded, in the file's layout.

    `storage`: the type of what is stored ("int8", "float16"), or "palette4" for indices into tables of 2**4 values.
    """

    name: str
    values: Array
    storage: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file should hold of a weight: `values` in float, stored as one of `storage`.

    `bits` a value carries at least; `sparsity` the percent of values that must be zero; `slack_db` what may be lost
    against one even grid.
    """

    values: Array
    storage: tuple[str, ...]
    bits: int
    sparsity: int = 0
    slack_db: float = SLACK_DB


@dataclass(frozen=True, slots=True)
class Found:
    """One weight, compared. `snr_db` against the original."""

    name: str
    storage: str
    values: int
    zeros: float
    snr_db: float


def wanted(values: Array, recipe: Recipe) -> Wanted:
    """The weight stored as the recipe says. Static integers may use 7 of their 8 bits (see the targets' notes)."""
    bits = recipe.weight_bits
    if recipe.scheme in ("float", "sparse"):
        return Wanted(values, (f"float{bits}",), bits, recipe.sparsity)
    if recipe.scheme == "palette":
        return Wanted(values, (f"palette{bits}",), bits, recipe.sparsity)
    return Wanted(values, (f"int{bits}", f"uint{bits}"), bits - bool(recipe.activation_bits), recipe.sparsity)


def layer_finder(program: Program, chosen: Recipe, target: str) -> Callable[[Array], Recipe | None]:
    """For a recipe with a name of its own: what the layer is stored as whose weight is given, axes in any order; None
    for a weight that is no layer's, or that a converter changed."""
    layers = find_layers(program)
    stored = assign(layers, chosen, program.least_quantized(), target)
    known = {
        fingerprint(value): stored[name]
        for name, layer in layers.items()
        for value in (layer.value, layer.value.astype(np.float16))
    }
    return lambda value: known.get(fingerprint(value))


def wanted_layer(values: Array, own: Recipe | None, storage: str) -> Wanted:
    """A weight of a layer that is stored as `own`; in `storage` where nothing is known of it. Weights of few bits are
    rounded for the layer's outputs, not for their own sake."""
    if own is None:
        return kept(values, storage)
    few = own.scheme != "float" and own.weight_bits <= CALIBRATED_BITS
    return replace(wanted(values, own), slack_db=SLACK_DB + (CALIBRATED_DB if few else 0.0))


def kept(values: Array, storage: str) -> Wanted:
    """A weight that is left in `storage`, a type with its bits at its end, whatever the recipe says."""
    return Wanted(values, (storage,), int(storage.lstrip("abcdefghijklmnopqrstuvwxyz")))


def compare(target: str, recipe: Recipe, saved: Iterable[Saved], originals: Mapping[str, Wanted]) -> tuple[Found, ...]:
    """Every weight of the saved files against what it should be, the worst first.

    Raises StageError("readback") naming the weights that are missing, stored in another type than the recipe's, too
    dense, or further from the original than the recipe's bits allow.
    """
    found: list[Found] = []
    faults: list[str] = []
    seen: set[str] = set()
    for item in saved:
        original = originals.get(item.name)
        if original is None:
            continue  # made by the recipe itself: a scale, a table
        seen.add(item.name)
        row, fault = check(item, original)
        found.append(row)
        if fault:
            faults.append(f"{item.name!r} {fault}")
    faults += [
        f"{name!r} is not in the file"
        for name, original in originals.items()
        if name not in seen and not any(alike(original, originals[other]) for other in seen)
    ]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        text = "; ".join(faults[:3])
        raise StageError(STAGE, f"{target} {recipe.name}: the saved file is not what its recipe says: {text}{more}")
    return tuple(sorted(found, key=lambda row: (row.snr_db, row.name)))


def alike(one: Wanted, other: Wanted) -> bool:
    """Whether a format may keep both once, under the name of either: to the last value, and stored the same way."""
    return one.storage == other.storage and np.array_equal(one.values, other.values)


def check(item: Saved, original: Wanted) -> tuple[Found, str]:
    """(the row, what is wrong or "")."""
    zeros = float(np.mean(item.values == 0)) if item.values.size else 0.0
    if item.values.shape != original.values.shape:
        row = Found(item.name, item.storage, int(item.values.size), zeros, float("-inf"))
        return row, f"has shape {list(item.values.shape)}, not {list(original.values.shape)}"
    snr, least = snr_db(item.values, original.values), floor_db(original)
    row = Found(item.name, item.storage, int(item.values.size), zeros, snr)
    if item.storage not in original.storage:
        return row, f"is stored as {item.storage}, not as {' or '.join(original.storage)}"
    if zeros * 100 < original.sparsity - 100 / item.values.size:
        return row, f"has {zeros:.1%} zeros, not {original.sparsity} %"
    if snr < least:
        return row, (f"decodes to {snr:.1f} dB of the original; {original.bits} bits give {least:.1f} dB at least")
    return row, ""


def snr_db(values: Array, original: Array) -> float:
    """10 log10(signal / noise); 999 where they are equal. Not finite values are noise without bound."""
    truth = original.astype(np.float64)
    noise = float(np.sum((values.astype(np.float64) - truth) ** 2))
    signal = float(np.sum(truth**2))
    if not np.isfinite(noise):
        return float("-inf")
    if noise == 0:
        return 999.0
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


def floor_db(original: Wanted) -> float:
    """The SNR that the weight has at least when it is stored as wanted.

    Integers and palettes: that of one even grid of 2**bits steps over the tensor's whole range, which scales a channel
    and fitted tables only improve on; what pruning takes away is known exactly. Less the slack.
    """
    if original.bits >= 32:
        return EXACT_DB
    truth = original.values.astype(np.float64).ravel()
    signal = float(np.sum(truth**2))
    if not signal:
        return float("-inf")
    low, high = min(float(truth.min()), 0.0), max(float(truth.max()), 0.0)
    # A symmetric grid spends half of its steps on the side of the smaller extreme.
    span = 2 * max(-low, high)
    noise = truth.size * (span / (2**original.bits - 2 + (original.bits == 1))) ** 2 / 12
    if "float16" in original.storage:
        noise = signal * 10 ** (-HALF_DB / 10)
    if original.sparsity:
        dropped = int(truth.size * original.sparsity / 100)
        noise += float(np.sum(np.partition(truth**2, max(dropped - 1, 0))[:dropped]))
    return max(10 * float(np.log10(signal / noise)) - original.slack_db, LEAST_DB)


def summary(found: Sequence[Found]) -> tuple[str, ...]:
    """A line for artifact.json: how the values are stored, and the weight that lost most. None of a net without any."""
    if not found:
        return ()
    counts: Counter[str] = Counter()
    for row in found:
        counts[row.storage] += row.values
    total = sum(counts.values())
    shares = ", ".join(f"{count / total:.1%} {name}" for name, count in counts.most_common())
    zeros = sum(row.zeros * row.values for row in found) / total
    worst = found[0]
    text = f"read back from the saved bytes: {len(found)} weights, {shares}"
    if zeros >= 0.05:
        text += f", {zeros:.1%} zeros"
    lost = "all equal the originals" if worst.snr_db >= 999 else f"worst: {worst.name}, {worst.snr_db:.1f} dB"
    return (f"{text}; {lost}",)
