"""Recipes: how an artifact stores weights and computes activations, with one grammar of names.

    float32 | float16          weights and activations of that dtype
    w<bits>[g<block>]          integer weights, float activations. One scale per channel, or one per <block> channels:
                               of input channels in Core ML, of output channels in TF.js (whose default is one per
                               tensor)
    w<bits>a<bits>[s]          integer weights and static, calibrated integer activations. "s" asks for signed
                               activations where a target's default is unsigned
    w<bits>a<bits>[s]-<word>…  how activation ranges are observed: percentile (the default), minmax, mse or entropy.
                               n<count>: on that many of the calibration samples. eq: after cross-layer equalization
                               and bias correction
    d<bits>                    integer weights, dynamic integer activations: the runtime quantizes every activation by
                               its range in that run. Nothing is calibrated, outputs are float
    p<bits>[g<group>]          palettized weights: a lookup table of 2**bits values per tensor or per group of channels
    s<percent>[p<bits>|w<bits>]  pruned weights: that percentage of each tensor, the smallest magnitudes, is zero and
                               not stored. The others are float16, palettized, or integers per channel

`Target.refuses` says which recipes a target has, and why it lacks the others.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hydramobile.errors import StageError, UsageError, unknown

GRAMMAR = re.compile(
    r"(?P<float>float(32|16))|w(?P<bits>[2-8]|16)(a(?P<act>8|16)(?P<signed>s)?(?P<words>(-[a-z0-9]+)*)|g(?P<block>[1-9][0-9]{0,3}))?"
    r"|d(?P<dynamic>[48])|p(?P<palette>[1-8])(g(?P<group>[1-9][0-9]{0,3}))?"
    r"|s(?P<sparsity>[1-9][0-9])(p(?P<sparse_palette>[1-8])|w(?P<sparse_bits>[48]))?",
    re.ASCII,
)
WORDS = (
    "float32, float16, w<bits>[g<block>], w<bits>a<bits>[s][-<word>...], d<bits>, p<bits>[g<group>], "
    "s<percent>[p<bits>|w<bits>]"
)
METHODS = ("percentile", "minmax", "mse", "entropy")
EQUALIZED = "eq"
COUNT = re.compile(r"n([1-9][0-9]{0,3})")
# In integer recipes the smallest weight tensors stay float, as many as hold this share of the elements of the largest
# module. On the portrait these tensors cause most of the error of 8-bit weights (worst matte IoU 0.989 with them
# quantized, 0.995 without) and cost 0.1 MB: stems, depthwise filters and projections at full resolution have few
# elements and read every pixel. The share is of the largest module, so that a new head does not change the other files.
FLOAT_SHARE = 0.012
COMMON = ("float32", "float16", "w8")
# Layers of named recipes with at most this many bits are rounded with calibration samples (export/quantize/gptq.py).
CALIBRATED_BITS = 6
# The recipes of `make grid`, on every target that has them.
GRID = (
    *COMMON,
    *("w16", "w8g1", "w4", "w4g16", "d8", "p8", "p6", "p4", "p4g16", "p3", "p2", "s50", "s75", "s50p4", "s50w8"),
    *("w8a8", "w8a8s", "w8a16"),
)
# The recipes that `make calibration` compares.
CALIBRATIONS = ("w8a8", "w8a8-minmax", "w8a8-mse", "w8a8-entropy", "w8a8-n1", "w8a8-n4", "w8a8-eq")
SETS = {"grid": GRID, "calibration": CALIBRATIONS}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A parsed recipe.

    `scheme` is "float", "int", "palette", "sparse" (float16 where not zero) or, for a named recipe, "mixed".
    `activation_bits` is 0 for float activations, `block` is 0 for one scale per channel or tensor. `dynamic`: the
    runtime measures the range of every activation in every run. `sparsity`: the percentage of each tensor that is zero
    and not stored, in any scheme. `method`: how the ranges of integer activations are observed, on `samples` of the
    calibration samples (0: all). `equalized`: with cross-layer equalization and bias correction.

    A named recipe (hydramobile/recipe_files.py) has `layers`, pairs of (pattern of layer names, recipe). The last pair
    whose pattern matches a layer decides how the layer is stored. A layer that no pattern matches is stored as in
    `base`. A fine-tuned recipe has a `weights` file of its own, with its hash.
    """

    name: str
    scheme: str
    weight_bits: int
    activation_bits: int = 0
    block: int = 0
    signed: bool = False
    dynamic: bool = False
    sparsity: int = 0
    method: str = METHODS[0]
    samples: int = 0
    equalized: bool = False
    base: str = ""
    layers: tuple[tuple[str, str], ...] = ()
    weights: str = ""
    weights_sha256: str = ""

    @property
    def calibrated(self) -> bool:
        """Return whether the recipe needs calibration samples.

        Integer activations need the ranges of activations. Weights of few bits are rounded so that the layer's outputs
        on the samples change least.
        """
        return self.activation_bits > 0 or any(recipe(name).weight_bits <= CALIBRATED_BITS for name in self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of the recipes that a named recipe uses, none for a recipe of the grammar."""
        return tuple(dict.fromkeys((self.base, *(name for _, name in self.layers)))) if self.base else ()

    @property
    def plain(self) -> str:
        """Return the name without words: targets and limits do not depend on how ranges were observed."""
        return plain_name(self.name)


def plain_name(name: str) -> str:
    """Return a recipe's name without the words on how ranges are observed. Other names are returned unchanged."""
    return name.partition("-")[0] if GRAMMAR.fullmatch(name) else name


def recipe(name: str) -> Recipe:
    """Parse a name of the grammar. Raises UsageError with the nearest common name for any other."""
    match = GRAMMAR.fullmatch(name)
    if match is None:
        hint = str(unknown("recipe", name, COMMON))
        raise UsageError(f"{hint}; grammar: {WORDS}")
    if match["float"]:
        return Recipe(name, "float", int(match["float"].removeprefix("float")))
    if match["dynamic"]:
        return Recipe(name, "int", int(match["dynamic"]), dynamic=True)
    if match["palette"]:
        return Recipe(name, "palette", int(match["palette"]), block=int(match["group"] or 0))
    if match["sparsity"]:
        percent = int(match["sparsity"])
        if match["sparse_palette"]:
            return Recipe(name, "palette", int(match["sparse_palette"]), sparsity=percent)
        if match["sparse_bits"]:
            return Recipe(name, "int", int(match["sparse_bits"]), sparsity=percent)
        return Recipe(name, "sparse", 16, sparsity=percent)
    plain = Recipe(
        name, "int", int(match["bits"]), int(match["act"] or 0), int(match["block"] or 0), bool(match["signed"])
    )
    return replace(plain, **parse_words(name, match["words"])) if match["words"] else plain


def parse_words(name: str, words: str) -> dict[str, Any]:
    """Return the fields that the words of a calibrated recipe set. Raises UsageError for unknown and repeated words."""
    fields: dict[str, Any] = {}
    value: Any
    for word in words.split("-")[1:]:
        count = COUNT.fullmatch(word)
        if word in METHODS:
            key, value = "method", word
        elif word == EQUALIZED:
            key, value = "equalized", True
        elif count:
            key, value = "samples", int(count[1])
        else:
            raise unknown(f"word of the recipe {name!r},", word, (*METHODS, EQUALIZED, "n<count>"))
        if key in fields:
            raise UsageError(f"the recipe {name!r} sets its {key} twice")
        fields[key] = value
    return fields


def smallest_quantized(sizes: Mapping[int, int], share: float = FLOAT_SHARE) -> int:
    """Return the number of elements below which a weight stays float.

    `sizes` counts the weights of the largest module by their number of elements. The smaller weights hold at most
    `share` of all elements.
    """
    allowed, held = share * sum(size * count for size, count in sizes.items()), 0
    for size, count in sorted(sizes.items()):
        held += size * count
        if held > allowed:
            return size
    return 0


def assign_recipes(sizes: Mapping[str, int], chosen: Recipe, least: int, small: Recipe) -> dict[str, Recipe]:
    """Return the recipe of every layer under a named recipe. `sizes` maps layers to their number of elements.

    A layer that no pattern matches has the base recipe, or `small` where it has fewer than `least` elements and the
    base is not a float recipe. Raises StageError("recipes") for a pattern that matches no layer.
    """
    base = recipe(chosen.base)
    result = {name: base if size >= least or base.scheme == "float" else small for name, size in sizes.items()}
    for pattern, text in chosen.layers:
        matched = fnmatch.filter(sizes, pattern)
        if not matched:
            near = difflib.get_close_matches(pattern, sizes, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            some = ", ".join(list(sizes)[:5])
            raise StageError(
                "recipes",
                f"{chosen.name!r}: the pattern {pattern!r} matches no layer{hint} ({len(sizes)} layers: {some}, ...; "
                "all: python -m export layers)",
            )
        result |= dict.fromkeys(matched, recipe(text))
    return result


FLOAT32 = recipe("float32")
FLOAT16 = recipe("float16")
W8 = recipe("w8")
