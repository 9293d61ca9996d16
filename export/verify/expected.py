"""State how a recipe should store each weight: storage types, bits, zeros, and the least signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.layers import find_layers, fingerprint, layer_recipes
from hydramobile.recipes import CALIBRATED_BITS, Recipe

Array = NDArray[np.generic]
# The loss that a tensor may have beyond rounding to the recipe's bits with one even grid: kernels of a format round
# scales, and k-means stops early.
SLACK_DB = 3.0
# Rounding with calibration samples moves weights so that outputs move less. A weight that no input needs may move far,
# so only noise and wrong tables count as faults of these tensors.
CALIBRATED_DB = 100.0
# A weight of no information at all has 0 dB. Even a table of two values keeps the signs.
LEAST_DB = 0.5
# float16 carries 11 bits (68 dB); tensors whose elements lie below its normal range carry fewer.
HALF_DB = 40.0
EXACT_DB = 120.0


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected weight of a file: `values` in float, stored as one of the types `storage`.

    `bits` is the least number of bits per element; `sparsity` the percentage of elements that must be zero; `slack_db`
    the loss allowed against one even grid.
    """

    values: Array
    storage: tuple[str, ...]
    bits: int
    sparsity: int = 0
    slack_db: float = SLACK_DB


def expect(values: Array, recipe: Recipe) -> Expected:
    """Expect the weight to be stored under `recipe`. Static integers may use 7 of their 8 bits (targets/onnx)."""
    bits = recipe.weight_bits
    if recipe.scheme in ("float", "sparse"):
        return Expected(values, (f"float{bits}",), bits, recipe.sparsity)
    if recipe.scheme == "palette":
        return Expected(values, (f"palette{bits}",), bits, recipe.sparsity)
    return Expected(values, (f"int{bits}", f"uint{bits}"), bits - bool(recipe.activation_bits), recipe.sparsity)


def expect_layer(values: Array, recipe: Recipe | None, storage: str) -> Expected:
    """Expect the weight of a layer to be stored under its own `recipe`; in `storage` where the recipe is unknown.

    Weights of few bits are rounded for the sake of the layer's outputs, so they may move far.
    """
    if recipe is None:
        return expect_unchanged(values, storage)
    few = recipe.scheme != "float" and recipe.weight_bits <= CALIBRATED_BITS
    return replace(expect(values, recipe), slack_db=SLACK_DB + (CALIBRATED_DB if few else 0.0))


def expect_unchanged(values: Array, storage: str) -> Expected:
    """Expect the weight in `storage`, a type whose name ends with its bits, whatever the recipe says."""
    return Expected(values, (storage,), int(storage.lstrip("abcdefghijklmnopqrstuvwxyz")))


def recipe_finder(program: Program, chosen: Recipe, target: str) -> Callable[[Array], Recipe | None]:
    """Return a function that finds the recipe of a layer by its weight, axes in any order, under a named recipe.

    The function returns None for a tensor that is no layer's weight, or that a converter changed.
    """
    layers = find_layers(program)
    recipes = layer_recipes(layers, chosen, program.least_quantized(), target)
    known = {
        fingerprint(value): recipes[name]
        for name, layer in layers.items()
        for value in (layer.value, layer.value.astype(np.float16))
    }
    return lambda value: known.get(fingerprint(value))


def floor_db(expected: Expected) -> float:
    """Return the least SNR, in dB, of a weight that is stored as expected.

    For integers and palettes it is the SNR of one even grid of 2**bits steps over the range of the whole tensor. Scales
    per channel and fitted tables only improve on it. The noise of pruning is known exactly and added. The slack is
    subtracted.
    """
    if expected.bits >= 32:
        return EXACT_DB
    truth = expected.values.astype(np.float64).ravel()
    truth = truth[np.isfinite(truth)]
    signal = float(np.sum(truth**2))
    if not signal:
        return float("-inf")
    low, high = min(float(truth.min()), 0.0), max(float(truth.max()), 0.0)
    # A symmetric grid spends half of its steps on the side of the smaller extreme.
    span = 2 * max(-low, high)
    noise = truth.size * (span / (2**expected.bits - 2 + (expected.bits == 1))) ** 2 / 12
    if "float16" in expected.storage:
        noise = signal * 10 ** (-HALF_DB / 10)
    if expected.sparsity:
        dropped = int(truth.size * expected.sparsity / 100)
        noise += float(np.sum(np.partition(truth**2, max(dropped - 1, 0))[:dropped]))
    return max(10 * float(np.log10(signal / noise)) - expected.slack_db, LEAST_DB)
