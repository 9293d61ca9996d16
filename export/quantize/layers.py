"""The layers of a net by name, what each is stored as under a named recipe, and where a target's file has them.

A layer is a weight of two or more dimensions; its name is its path in the PyTorch net, "encoder.blocks.3.project.conv".
A converter moves axes and renames, but keeps values: a stored tensor is known by its values, sorted.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.gptq import as_matrix, from_matrix, half, symmetric, symmetric_grid, to_grid
from hydramobile.errors import StageError
from hydramobile.recipes import CALIBRATED_BITS, Recipe, assign_recipes, recipe
from hydramobile.targets import target_info

if TYPE_CHECKING:
    import torch

    from export.target import LayerStorage

Array = NDArray[Any]
STAGE = "recipes"


@dataclass(frozen=True, slots=True)
class Layer:
    """`value`: the weight in PyTorch's layout, float32; `axis`: its output channels; `module`: which of the model's.

    `owner` is the torch module that holds it as its parameter `key`.
    """

    name: str
    module: str
    value: Array
    axis: int
    owner: torch.nn.Module
    key: str

    @property
    def outputs(self) -> int:
        return int(self.value.shape[self.axis])

    @property
    def depthwise(self) -> bool:
        return self.value.ndim > 2 and self.value.shape[1] == 1 and self.value.shape[0] > 1


def find_layers(program: Program) -> dict[str, Layer]:
    """Every weight of two or more dimensions by name, in the order of the modules; a shared one once."""
    from torch import nn

    found: dict[str, Layer] = {}
    known: set[int] = set()
    for module_name, module in program.modules.items():
        for path, owner in module.named_modules():
            for key, parameter in owner.named_parameters(recurse=False):
                if parameter.ndim < 2 or id(parameter) in known or not parameter.is_floating_point():
                    continue
                known.add(id(parameter))
                name = ".".join(filter(None, (module_name, path, "" if key == "weight" else key)))
                axis = 1 if isinstance(owner, nn.modules.conv._ConvTransposeNd) else 0
                value = parameter.detach().numpy().astype(np.float32)
                found[name] = Layer(name, module_name, value, axis, owner, key)
    return found


def assign(layers: Mapping[str, Layer], chosen: Recipe, least: int, target: str) -> dict[str, Recipe]:
    """What each layer is stored as. Raises StageError("recipes") for a pattern that matches nothing."""
    small = recipe(target_info(target).float_dtype)
    return assign_recipes({name: int(layer.value.size) for name, layer in layers.items()}, chosen, least, small)


@dataclass(frozen=True, slots=True)
class Assigned:
    """A layer, what it is stored as, and the values that it is stored with (float32, PyTorch's layout).

    `decoded` is None where the target rounds the layer's own values to the nearest by itself.
    """

    layer: Layer
    recipe: Recipe
    decoded: Array | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a named recipe means for one target. `explicit`: the layers that a pattern names, which must be found."""

    name: str
    rows: Mapping[str, Assigned]
    explicit: frozenset[str]
    known: Mapping[str, Sequence[str]]
    found: set[str] = field(default_factory=set)

    def find(self, stored: Array) -> Assigned | None:
        """The layer whose weight `stored` is, axes in any order, in float32 or float16; None where it is none's."""
        names = self.known.get(fingerprint(stored), ())
        if len({self.rows[name].recipe for name in names}) > 1:
            raise StageError(STAGE, f"{', '.join(names)} hold the same values but are to be stored differently")
        self.found.update(names)
        return self.rows[names[0]] if names else None

    def finish(self, where: str) -> tuple[str, ...]:
        """Notes on layers that were not found. Raises StageError("recipes") where a pattern asked for one of them."""
        lost = [name for name in self.rows if name not in self.found]
        asked = [name for name in lost if name in self.explicit]
        if asked:
            raise StageError(
                STAGE,
                f"{self.name!r}: {asked[0]!r} is not in the {where} file as one weight ({len(asked)} such layers); its "
                "converter splits or changes it, so it can only be left to the base",
            )
        return (f"left in float, the converter changed their weights: {', '.join(lost)}",) if lost else ()

    def stored(self) -> dict[str, dict[str, Any]]:
        """What artifact.json says of every layer that was found."""
        return {
            name: {"recipe": row.recipe.name, "values": int(row.layer.value.size)}
            for name, row in self.rows.items()
            if name in self.found
        }


def fingerprint(value: Array) -> str:
    """Of a weight's values whatever their order: equal for equal values, in float32 and in float16 apart."""
    kind = np.float16 if value.dtype == np.float16 else np.float32
    flat = np.sort(np.asarray(value).astype(kind).ravel())
    # Minus zero and zero are one value.
    return f"{flat.size}:{kind.__name__}:{hashlib.sha256((flat + kind(0)).tobytes()).hexdigest()}"


def laid_like(layer: Layer, value: Array, stored: Array) -> Array:
    """`value`, in the layer's layout, in the layout that a file has the layer's weight in. Raises StageError."""
    own = layer.value.astype(stored.dtype)
    for order in itertools.permutations(range(own.ndim)):
        if np.array_equal(own.transpose(order).reshape(stored.shape), stored):
            return np.ascontiguousarray(value.transpose(order).reshape(stored.shape))
    raise StageError(STAGE, f"{layer.name!r} is stored in an order that moving axes does not explain")


def calibrated_by_channel(recipe: Recipe) -> bool:
    """Whether integers with a scale a channel are rounded with data."""
    return recipe.scheme == "int" and recipe.weight_bits <= CALIBRATED_BITS


def decoded_by_channel(layer: Layer, recipe: Recipe, gram: Array | None) -> Array:
    """A layer as float32, float16 or symmetric integers with a float32 scale a channel, read back."""
    matrix = as_matrix(layer.value, layer.axis)
    if recipe.scheme == "float":
        made = matrix if recipe.weight_bits == 32 else half(matrix)
    elif not calibrated_by_channel(recipe):
        made = symmetric(matrix, recipe.weight_bits)
    else:
        importance = None if gram is None else np.diag(gram)
        made = to_grid(matrix, symmetric_grid(matrix, recipe.weight_bits, importance), gram, pinned=True)
    return from_matrix(made, layer.value.shape, layer.axis)


def make_plan(program: Program, chosen: Recipe, target: str, storage: LayerStorage) -> Plan:
    """The plan of a named recipe for a target, weights of few bits rounded with the calibration samples.

    Raises StageError("recipes") naming the layers and the schemes where the target has it not.
    """
    from export.quantize.gram import gram_matrices

    layers = find_layers(program)
    stored = assign(layers, chosen, program.least_quantized(), target)
    refused: dict[tuple[str, str], list[str]] = {}
    for name, own in stored.items():
        reason = storage.layer_refuses(layers[name], own)
        if reason:
            refused.setdefault((own.name, reason), []).append(name)
    if refused:
        # All of them at once: who mends a recipe, or a search, does it in one go.
        told = "; ".join(f"{', '.join(names)} as {text}: {reason}" for (text, reason), names in refused.items())
        raise StageError(STAGE, f"{chosen.name!r}: {told}")
    asked = [name for name, own in stored.items() if storage.calibrates(own)]
    grams = gram_matrices(program, [layers[name] for name in asked])
    rows = {
        name: Assigned(layer, stored[name], storage.decoded(layer, stored[name], grams.get(name)))
        if name in asked
        else Assigned(layer, stored[name])
        for name, layer in layers.items()
    }
    known: dict[str, list[str]] = {}
    for name, layer in layers.items():
        for value in (layer.value, layer.value.astype(np.float16)):
            known.setdefault(fingerprint(value), []).append(name)
    explicit = {name for pattern, _ in chosen.layers for name in fnmatch.filter(layers, pattern)}
    return Plan(chosen.name, rows, frozenset(explicit), known)
