"""LayerStorage: how a target stores single layers, for named recipes."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from export.quantize.layers import Layer
from hydramobile.recipes import Recipe


class LayerStorage(Protocol):
    """The storage types of a target's layers. A module that defines these names implements it."""

    # The dotted name of the module.
    __name__: str
    # The recipes that a search tries for a layer, the most exact first.
    OPTIONS: tuple[str, ...]

    def layer_refuses(self, layer: Layer, recipe: Recipe) -> str | None:
        """Return why the target cannot store the layer under `recipe`, or None. Must not import the vendor."""
        ...

    def calibrates(self, recipe: Recipe) -> bool:
        """Return whether layers under `recipe` are rounded with calibration samples, not to the nearest."""
        ...

    def decode_layer(self, layer: Layer, recipe: Recipe, gram: NDArray[Any] | None) -> NDArray[Any]:
        """Return the weight as a reader decodes it from the saved file, float32 in PyTorch's layout.

        `gram` is the Gram matrix of the layer's inputs where the layer has one and `calibrates` says so.
        """
        ...

    def layer_bytes(self, layer: Layer, recipe: Recipe) -> float:
        """Return the bytes of the layer in a file: codes, scales and palettes."""
        ...
