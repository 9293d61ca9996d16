"""The interface between the exporter and its targets: the protocol of a target, its result, and the loader by name.

A new target is one folder that implements `Target`, one row in hydramobile/targets.py, and one test.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from export.program import Program
from export.quantize.storage import LayerStorage
from export.verify.expected import Expected
from export.verify.readback import Saved
from hydramobile.artifact import Entry
from hydramobile.errors import UsageError
from hydramobile.recipes import Recipe
from hydramobile.targets import target_info


@dataclass(frozen=True, slots=True)
class Emitted:
    """The files that a target wrote into a folder.

    `requires` states what an app needs ({"ios": "16.0"}, {"opset": "20"}). `notes` are facts that a reader of
    artifact.json should know, such as why a fused copy is absent. `layers` states how a named recipe stores each layer:
    name -> {"recipe", "values"}.
    """

    entries: tuple[Entry, ...]
    requires: dict[str, str]
    notes: tuple[str, ...] = field(default=())
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Target(Protocol):
    """One output format.

    The order of calls, all in one worker process: `refuses` for each recipe, `convert` once, then for each recipe that
    is not refused `emit`, `read_weights` and `originals`. The result of `convert` goes back to the same target alone.
    """

    name: str
    # Bits that a weight uses under static integer recipes.
    static_bits: int
    # PyPI packages whose versions decide the bytes, recorded in artifact.json.
    toolchain: tuple[str, ...]

    @property
    def storage(self) -> LayerStorage | None:
        """Return the target's storage of single layers, or None where it stores all layers alike."""
        ...

    def refuses(self, recipe: Recipe) -> str | None:
        """Return why this target does not support the recipe, or None where it does. Must not import the vendor."""
        ...

    def unavailable(self) -> str | None:
        """Return why exporting cannot work on this machine (package missing, platform), or None."""
        ...

    def convert(self, program: Program, scratch: Path) -> Any:
        """Convert every entry at float32: the expensive part, which recipes share. `scratch` is a temporary folder.

        Raises StageError("convert") naming the entry, and the op where an op is the reason.
        """
        ...

    def emit(self, program: Program, converted: Any, recipe: Recipe, folder: Path) -> Emitted:
        """Write the files of `recipe` into the empty `folder` and describe them.

        Files must be the same bytes for the same input. artifact.json, goldens and USAGE.md are added by the caller.
        """
        ...

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        """Yield every weight in the files that `emit` wrote into `folder`, decoded from their bytes."""
        ...

    def originals(self, program: Program, converted: Any, recipe: Recipe) -> Mapping[str, Expected]:
        """Return the float weights in `converted` by the names of `read_weights`, and how `recipe` stores each.

        The saved files are compared with them, so they are derived from the float graphs alone, not from `emit`.
        """
        ...

    def describe(self, path: Path) -> dict[str, Any]:
        """Return facts read from a saved file or package for `inspect`, never from artifact.json.

        They are the format, the metadata, the entries with their tensors (name, shape, dtype), the weight bytes by
        dtype, and the op counts.
        """
        ...

    def usage(self, emitted: Emitted) -> str:
        """Return the body of USAGE.md (Markdown) in the platform's language, with the files' real names and shapes.

        It loads the files, feeds a photo, runs encoder then head, and checks the golden.
        """
        ...


def load_storage(name: str) -> LayerStorage:
    """Return a target's storage of single layers. Raises UsageError where it stores all layers alike."""
    storage = load_target(name).storage
    if storage is None:
        raise UsageError(f"{name} stores all layers alike: it has no named recipes")
    return storage


def load_target(name: str) -> Target:
    """Import and instantiate a target. Raises UsageError for a mistyped name."""
    module, _, implementation = target_info(name).implementation.partition(":")
    target: Target = getattr(importlib.import_module(module), implementation)()
    return target
