"""The seam between the exporter and its targets.

A new target is one folder that implements `Target`, one row in hydramobile/targets.py, and one test.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from export.program import Program
from export.verify.readback import Saved, Wanted
from hydramobile.artifact import Entry
from hydramobile.errors import UsageError
from hydramobile.recipes import Recipe
from hydramobile.targets import target_info

if TYPE_CHECKING:
    from export.quantize.layers import Layer


@dataclass(frozen=True, slots=True)
class Emitted:
    """What a target wrote into the folder it was given.

    `requires` says what an app needs ({"ios": "16.0"}, {"opset": "20"}); `notes` are facts a reader of
    artifact.json should know, such as why a fused copy was left out. `layers`: of a named recipe, what each layer is
    stored as: name -> {"recipe", "values"}.
    """

    entries: tuple[Entry, ...]
    requires: dict[str, str]
    notes: tuple[str, ...] = field(default=())
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Target(Protocol):
    """One output format.

    The order of calls, all in one worker process: `refuses` for each recipe, `convert` once, then for each recipe that
    is not refused `emit`, `read_weights` and `originals`. What `convert` returns goes back to the same target alone.
    """

    name: str
    # Bits that a weight uses under static integer recipes.
    static_bits: int
    # PyPI packages whose versions decide the bytes, recorded in artifact.json.
    toolchain: tuple[str, ...]

    def refuses(self, recipe: Recipe) -> str | None:
        """Why this target has no such recipe, or None when it has. Must not import the vendor."""
        ...

    def unavailable(self) -> str | None:
        """Why exporting cannot work on this machine (package missing, platform), or None."""
        ...

    def convert(self, program: Program, scratch: Path) -> Any:
        """The expensive, recipe-independent part: every entry converted at float32. `scratch` is a temporary folder.

        Raises StageError("convert") naming the entry, and the op where an op is the reason.
        """
        ...

    def emit(self, program: Program, converted: Any, recipe: Recipe, folder: Path) -> Emitted:
        """Write the files of `recipe` into the empty `folder` and describe them.

        Files must be the same bytes for the same input. artifact.json, goldens and USAGE.md are added by the caller.
        """
        ...

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        """Every weight in the files that `emit` wrote into `folder`, decoded from their bytes."""
        ...

    def originals(self, program: Program, converted: Any, recipe: Recipe) -> Mapping[str, Wanted]:
        """What `convert` made of the weights, in float, by the names of `read_weights`, and how `recipe` stores each:
        what the saved files are held to. Told from the float graphs alone, not from what `emit` did."""
        ...

    def describe(self, path: Path) -> dict[str, Any]:
        """Facts read from a saved file or package for `inspect`: format, metadata, entries with their tensors
        (name, shape, dtype), weight bytes by dtype, op counts. Never believes artifact.json."""
        ...

    def usage(self, emitted: Emitted) -> str:
        """The body of USAGE.md (Markdown): load the files, feed a photo, run encoder then head, check the golden,
        in the platform's language with these files' real names, shapes and layouts."""
        ...


class LayerStorage(Protocol):
    """How a target stores single layers, for recipes with names of their own: a module of these names."""

    # What a search tries for a layer, the most exact first.
    OPTIONS: tuple[str, ...]

    def layer_refuses(self, layer: Layer, recipe: Recipe) -> str | None:
        """Why the layer cannot be stored so, or None. Must not import the vendor."""
        ...

    def calibrates(self, recipe: Recipe) -> bool:
        """Whether layers stored so are rounded with data; others are rounded to the nearest."""
        ...

    def decoded(self, layer: Layer, recipe: Recipe, gram: NDArray[Any] | None) -> NDArray[Any]:
        """The weight as a reader of the saved file sees it, float32 in PyTorch's layout."""
        ...

    def layer_bytes(self, layer: Layer, recipe: Recipe) -> float:
        """What the layer weighs in a file: values, scales, palettes."""
        ...


def load_storage(name: str) -> LayerStorage:
    """The target's way to store single layers. Raises UsageError where it has none."""
    storage: LayerStorage | None = getattr(load_target(name), "storage", None)
    if storage is None:
        raise UsageError(f"{name} stores all layers alike: it has no recipes with names of their own")
    return storage


def load_target(name: str) -> Target:
    """Import and instantiate a target. Raises UsageError for a mistyped name."""
    module, _, implementation = target_info(name).implementation.partition(":")
    target: Target = getattr(importlib.import_module(module), implementation)()
    return target
