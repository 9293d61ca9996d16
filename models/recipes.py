"""Recipes: how an artifact stores its weights and computes its activations, with one naming grammar.

    float32 | float16          weights and activations in that type
    w<bits>[g<block>]          integer weights, float activations; per channel, or per block of <block> inputs
    w<bits>a<bits>[s]          integer weights and integer activations (static, calibrated); "s" asks for signed
                               activations where a target's default is unsigned
    d<bits>                    integer weights; activations are rounded to integers as they come (dynamic), by their
                               own range at every run: nothing is calibrated, outputs are float
    p<bits>[g<group>]          palettized weights: a table of 2**bits values, per tensor or per group of channels

What a target does with a recipe, or why it cannot, is the target's own knowledge (`Target.refuses`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.errors import UsageError, unknown

GRAMMAR = re.compile(
    r"(?P<float>float(32|16))|w(?P<bits>[2-8]|16)(a(?P<act>8|16)(?P<signed>s)?|g(?P<block>[1-9][0-9]{0,3}))?"
    r"|d(?P<dynamic>[48])|p(?P<palette>[1-8])(g(?P<group>[1-9][0-9]{0,3}))?"
)
WORDS = "float32, float16, w<bits>[g<block>], w<bits>a<bits>, d<bits>, p<bits>[g<group>]"
# Share of the weights of a net's largest module: tensors smaller than those that hold it stay in float in integer
# recipes. On the portrait these small tensors carry most of the error of 8-bit weights (worst matte IoU .989 with
# them quantized, .995 without) and cost .1 MB: stems, depthwise filters and projections at full resolution have few
# weights and see every pixel. Of the largest module, so that a new head does not move what the old files keep.
FLOAT_SHARE = 0.012
COMMON = ("float32", "float16", "w8")
# Layers of named recipes at so many bits and fewer are rounded with calibration samples (export/rounding.py).
CALIBRATED_BITS = 6


@dataclass(frozen=True, slots=True)
class Recipe:
    """`scheme` is "float", "int" or "palette"; `activation_bits` 0 means float; `block` 0 means per channel/tensor.

    `dynamic`: the runtime finds the range of every activation anew at every run.
    """

    name: str
    scheme: str
    weight_bits: int
    activation_bits: int = 0
    block: int = 0
    signed: bool = False
    dynamic: bool = False
    # Of a recipe with a name of its own (models/named.py; scheme "mixed"): what layers are stored as that no pattern
    # matches, and (pattern of layer names, recipe) pairs of which the last that matches a layer decides.
    base: str = ""
    layers: tuple[tuple[str, str], ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether it needs calibration samples: integer activations have ranges that only data tells, and weights of
        few bits are rounded so that the layer's outputs on data change least."""
        return self.activation_bits > 0 or any(recipe(name).weight_bits <= CALIBRATED_BITS for name in self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """The grammar's names that a named recipe is made of; none for a recipe of the grammar."""
        return tuple(dict.fromkeys((self.base, *(name for _, name in self.layers)))) if self.base else ()


def recipe(name: str) -> Recipe:
    """Parse a recipe's name. Raises UsageError with the nearest common name when it is not in the grammar."""
    match = GRAMMAR.fullmatch(name)
    if match is None:
        hint = str(unknown("recipe", name, COMMON))
        raise UsageError(
            f"{hint}; grammar: float32, float16, w<bits>[g<block>], w<bits>a<bits>, d<bits>, p<bits>[g<group>]"
        )
    if match["float"]:
        return Recipe(name, "float", int(match["float"].removeprefix("float")))
    if match["dynamic"]:
        return Recipe(name, "int", int(match["dynamic"]), dynamic=True)
    if match["palette"]:
        return Recipe(name, "palette", int(match["palette"]), block=int(match["group"] or 0))
    return Recipe(
        name, "int", int(match["bits"]), int(match["act"] or 0), int(match["block"] or 0), bool(match["signed"])
    )


FLOAT32 = recipe("float32")
FLOAT16 = recipe("float16")
W8 = recipe("w8")
