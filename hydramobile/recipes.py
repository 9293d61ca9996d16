"""Recipes: how an artifact stores its weights and computes its activations, with one naming grammar.

    float32 | float16          weights and activations in that type
    w<bits>[g<block>]          integer weights, float activations; per channel, or a scale for every <block> of them:
                               input channels in Core ML, output channels in TF.js (which else has one a tensor)
    w<bits>a<bits>[s]          integer weights and integer activations (static, calibrated); "s" asks for signed
                               activations where a target's default is unsigned
    w<bits>a<bits>[s]-<word>…  how its ranges are found: percentile (the default), minmax, mse or entropy; n<count>: by
                               so many of the calibration samples; eq: channels equalized and biases corrected first
    d<bits>                    integer weights; activations are rounded to integers as they come (dynamic), by their
                               own range at every run: nothing is calibrated, outputs are float
    p<bits>[g<group>]          palettized weights: a table of 2**bits values, per tensor or per group of channels
    s<percent>[p<bits>|w<bits>]  that share of each tensor's weights, the smallest ones, are zero and not stored; the
                               others are float16, palettized or integers per channel

What a target does with a recipe, or why it cannot, is the target's own knowledge (`Target.refuses`).
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
# Share of the weights of a net's largest module: tensors smaller than those that hold it stay in float in integer
# recipes. On the portrait these small tensors carry most of the error of 8-bit weights (worst matte IoU .989 with
# them quantized, .995 without) and cost .1 MB: stems, depthwise filters and projections at full resolution have few
# weights and see every pixel. Of the largest module, so that a new head does not move what the old files keep.
FLOAT_SHARE = 0.012
COMMON = ("float32", "float16", "w8")
# Layers of named recipes at so many bits and fewer are rounded with calibration samples (export/quantize/gptq.py).
CALIBRATED_BITS = 6
# What `make grid` tries on every target that takes it.
GRID = (
    *COMMON,
    *("w16", "w8g1", "w4", "w4g16", "d8", "p8", "p6", "p4", "p4g16", "p3", "p2", "s50", "s75", "s50p4", "s50w8"),
    *("w8a8", "w8a8s", "w8a16"),
)
# What `make calibration` compares.
CALIBRATIONS = ("w8a8", "w8a8-minmax", "w8a8-mse", "w8a8-entropy", "w8a8-n1", "w8a8-n4", "w8a8-eq")
SETS = {"grid": GRID, "calibration": CALIBRATIONS}


@dataclass(frozen=True, slots=True)
class Recipe:
    """`scheme` is "float", "int", "palette" or "sparse" (float16 where not zero); `activation_bits` 0 means float;
    `block` 0 means per channel/tensor.

    `dynamic`: the runtime finds the range of every activation anew at every run. `sparsity`: percent of each tensor's
    weights that are zero and not stored, in any scheme. `method`: how the ranges of integer activations are found, by
    `samples` of the calibration samples (0: all of them); `equalized`: channels are equalized and biases corrected.
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
    # Of a recipe with a name of its own (hydramobile/recipe_files.py; scheme "mixed"): what layers are stored as
    # that no pattern matches, and (pattern of layer names, recipe) pairs: the last one that matches a layer decides.
    base: str = ""
    layers: tuple[tuple[str, str], ...] = ()
    # Of one with weights of its own, fine-tuned for it: the file, and its hash.
    weights: str = ""
    weights_sha256: str = ""

    @property
    def calibrated(self) -> bool:
        """Whether it needs calibration samples: integer activations have ranges that only data tells, and weights of
        few bits are rounded so that the layer's outputs on data change least."""
        return self.activation_bits > 0 or any(recipe(name).weight_bits <= CALIBRATED_BITS for name in self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """The grammar's names that a named recipe is made of; none for a recipe of the grammar."""
        return tuple(dict.fromkeys((self.base, *(name for _, name in self.layers)))) if self.base else ()

    @property
    def plain(self) -> str:
        """The name without words: targets and limits know a recipe by it, however its ranges were found."""
        return plain_name(self.name)


def plain_name(name: str) -> str:
    """A recipe's name without the words on how its ranges are found; one that is not of the grammar as it is."""
    return name.partition("-")[0] if GRAMMAR.fullmatch(name) else name


def recipe(name: str) -> Recipe:
    """Parse a recipe's name. Raises UsageError with the nearest common name when it is not in the grammar."""
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
    made = Recipe(
        name, "int", int(match["bits"]), int(match["act"] or 0), int(match["block"] or 0), bool(match["signed"])
    )
    return replace(made, **told(name, match["words"])) if match["words"] else made


def told(name: str, words: str) -> dict[str, Any]:
    """The fields that the words of a calibrated recipe set. Raises UsageError for an unknown or repeated one."""
    found: dict[str, Any] = {}
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
        if key in found:
            raise UsageError(f"the recipe {name!r} says twice what its {key} is")
        found[key] = value
    return found


def least_of(sizes: Mapping[int, int], share: float = FLOAT_SHARE) -> int:
    """Elements below which a weight stays in float: smaller ones hold at most `share` of all. `sizes`: how many weights
    of each size the largest module has."""
    allowed, held = share * sum(size * count for size, count in sizes.items()), 0
    for size, count in sorted(sizes.items()):
        held += size * count
        if held > allowed:
            return size
    return 0


def assigned(sizes: Mapping[str, int], chosen: Recipe, least: int, small: Recipe) -> dict[str, Recipe]:
    """What a named recipe stores each layer as: `sizes` are elements by layer; where the base is none of float, layers
    of fewer than `least` that no pattern matches are stored as `small`.

    Raises StageError("recipes") for a pattern that matches nothing.
    """
    base = recipe(chosen.base)
    found = {name: base if size >= least or base.scheme == "float" else small for name, size in sizes.items()}
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
        found |= dict.fromkeys(matched, recipe(text))
    return found


FLOAT32 = recipe("float32")
FLOAT16 = recipe("float16")
W8 = recipe("w8")
