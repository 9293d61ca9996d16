"""The plan of a named recipe: the recipe of each layer, the values to store, and the match with a converted file."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.gram import gram_matrices
from export.quantize.layers import STAGE, Layer, find_layers, fingerprint, layer_recipes
from export.quantize.storage import LayerStorage
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Assigned:
    """A layer, its recipe, and the values to store (float32, PyTorch's layout).

    `decoded` is None where the target rounds the layer's own values to the nearest by itself.
    """

    layer: Layer
    recipe: Recipe
    decoded: Array | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A named recipe for one target: every layer by name. `explicit` are the layers that a pattern names."""

    name: str
    rows: Mapping[str, Assigned]
    explicit: frozenset[str]


class LayerMatcher:
    """Match the weights of converted files with the layers of a plan, and record which layers have been matched."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.matched: set[str] = set()
        self.names: dict[str, list[str]] = {}
        for name, row in plan.rows.items():
            value = row.layer.value
            for stored in (value, value.astype(np.float16)):
                self.names.setdefault(fingerprint(stored), []).append(name)

    def match(self, stored: Array) -> Assigned | None:
        """Return the layer whose weight `stored` is, axes in any order, in float32 or float16; None for other tensors.

        Raises StageError("recipes") where several layers hold these values and have different recipes.
        """
        names = self.names.get(fingerprint(stored), ())
        if len({self.plan.rows[name].recipe for name in names}) > 1:
            raise StageError(STAGE, f"{', '.join(names)} hold the same values but have different recipes")
        self.matched.update(names)
        return self.plan.rows[names[0]] if names else None

    def notes(self, target: str) -> tuple[str, ...]:
        """Return a note that names the layers without a match, if any.

        Raises StageError("recipes") where a pattern of the recipe names one of them.
        """
        missing = [name for name in self.plan.rows if name not in self.matched]
        explicit = [name for name in missing if name in self.plan.explicit]
        if explicit:
            raise StageError(
                STAGE,
                f"{self.plan.name!r}: {explicit[0]!r} is not one weight of the {target} file ({len(explicit)} such "
                "layers): the converter splits or changes it, so only the recipe's base can apply to it",
            )
        return (f"left in float, the converter changed their weights: {', '.join(missing)}",) if missing else ()

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the record of every matched layer for artifact.json: name -> {"recipe", "values"}."""
        return {
            name: {"recipe": row.recipe.name, "values": int(row.layer.value.size)}
            for name, row in self.plan.rows.items()
            if name in self.matched
        }


def build_plan(program: Program, chosen: Recipe, target: str, storage: LayerStorage) -> Plan:
    """Return the plan of the named recipe `chosen` for a target; weights of few bits are rounded with GPTQ.

    Raises StageError("recipes") naming every layer whose recipe the target refuses, and StageError("quantize") where
    layers need calibration samples and the program has none.
    """
    layers = find_layers(program)
    recipes = layer_recipes(layers, chosen, program.least_quantized(), target)
    check_storage(chosen, layers, recipes, storage)
    calibrated = [name for name, recipe in recipes.items() if storage.calibrates(recipe)]
    grams = gram_matrices(program, [layers[name] for name in calibrated])
    rows = {
        name: Assigned(layer, recipes[name], storage.decode_layer(layer, recipes[name], grams.get(name)))
        if name in calibrated
        else Assigned(layer, recipes[name])
        for name, layer in layers.items()
    }
    explicit = {name for pattern, _ in chosen.layers for name in fnmatch.filter(layers, pattern)}
    return Plan(chosen.name, rows, frozenset(explicit))


def check_storage(
    chosen: Recipe, layers: Mapping[str, Layer], recipes: Mapping[str, Recipe], storage: LayerStorage
) -> None:
    """Raise StageError("recipes") where the target refuses the recipe of a layer.

    The error names all refused layers, so that the author of a recipe, or a search, can correct them at once.
    """
    refused: dict[tuple[str, str], list[str]] = {}
    for name, recipe in recipes.items():
        reason = storage.layer_refuses(layers[name], recipe)
        if reason:
            refused.setdefault((recipe.name, reason), []).append(name)
    if refused:
        reasons = "; ".join(f"{', '.join(names)} as {text}: {reason}" for (text, reason), names in refused.items())
        raise StageError(STAGE, f"{chosen.name!r}: {reasons}")
