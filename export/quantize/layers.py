"""The layers of a net by name, the recipe of each, and how a layer's weight is recognized in a converted file.

A layer is a parameter of two or more dimensions. Its name is its path in the PyTorch net, such as
"encoder.blocks.3.project.conv". A converter moves axes and renames weights, but it keeps their elements: a stored
tensor is recognized by its sorted elements.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe, assign_recipes, recipe
from hydramobile.targets import target_info

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
STAGE = "recipes"


@dataclass(frozen=True, slots=True)
class Layer:
    """A weight of two or more dimensions.

    `value` is the weight in PyTorch's layout, float32, with its output channels along `axis`. The torch module `owner`
    holds it as its parameter `key`; it belongs to the `module` of the model with that name. `groups` is the number of
    groups of a convolution, and 1 for every other layer.
    """

    name: str
    module: str
    value: Array
    axis: int
    owner: torch.nn.Module
    key: str
    groups: int = 1

    @property
    def outputs(self) -> int:
        """Return the number of output channels."""
        return int(self.value.shape[self.axis])

    @property
    def depthwise(self) -> bool:
        """Return whether each filter reads one input channel. That holds for a kernel for a one-channel photo too."""
        return self.value.ndim > 2 and self.value.shape[1] == 1 and self.value.shape[0] > 1


def find_layers(program: Program) -> dict[str, Layer]:
    """Return every layer by name, in the order of the modules; a shared weight appears once."""
    from torch import nn

    layers: dict[str, Layer] = {}
    known: set[int] = set()
    for module_name, module in program.modules.items():
        for path, owner in module.named_modules():
            for key, parameter in owner.named_parameters(recurse=False):
                if parameter.ndim < 2 or id(parameter) in known or not parameter.is_floating_point():
                    continue
                known.add(id(parameter))
                name = ".".join(filter(None, (module_name, path, "" if key == "weight" else key)))
                axis = 1 if isinstance(owner, nn.modules.conv._ConvTransposeNd) else 0
                # A convolution written by hand is no torch.nn class, but its attribute is called `groups` too.
                groups = int(getattr(owner, "groups", 1))
                value = parameter.detach().numpy().astype(np.float32)
                layers[name] = Layer(name, module_name, value, axis, owner, key, groups)
    return layers


def layer_recipes(layers: Mapping[str, Layer], chosen: Recipe, least: int, target: str) -> dict[str, Recipe]:
    """Return the recipe of each layer under the named recipe `chosen`.

    Layers of fewer than `least` elements that no pattern names stay in float. Raises StageError("recipes") for a
    pattern that matches no layer.
    """
    small = recipe(target_info(target).float_dtype)
    return assign_recipes({name: int(layer.value.size) for name, layer in layers.items()}, chosen, least, small)


def fingerprint(value: Array) -> str:
    """Return a hash of the elements of a weight that does not depend on their order.

    A float16 weight and a float32 weight have different fingerprints.
    """
    dtype = np.float16 if value.dtype == np.float16 else np.float32
    flat = np.sort(np.asarray(value).astype(dtype).ravel())
    # Adding zero makes minus zero and zero equal.
    return f"{flat.size}:{dtype.__name__}:{hashlib.sha256((flat + dtype(0)).tobytes()).hexdigest()}"


def in_stored_layout(layer: Layer, value: Array, stored: Array) -> Array:
    """Return `value`, which has the layout of `layer`, in the layout of `stored`, the layer's weight in a file.

    Raises StageError("recipes") where no permutation of the axes leads from one to the other.
    """
    original = layer.value.astype(stored.dtype)
    for order in itertools.permutations(range(original.ndim)):
        if np.array_equal(original.transpose(order).reshape(stored.shape), stored):
            return np.ascontiguousarray(value.transpose(order).reshape(stored.shape))
    raise StageError(STAGE, f"{layer.name!r} is stored in an order that no permutation of its axes explains")
