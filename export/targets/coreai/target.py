"""The target of Core AI, Apple's successor of Core ML. An optional extra, in beta.

One .aimodel holds a function per entry, which share weights. Its packages run on Linux too, so that the files can be
run where they are exported (benchmarks/runtimes/coreai.py).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export.program import Program
from export.target import Emitted
from export.targets.coreai.convert import convert_modules, halve, save_asset
from export.targets.coreai.describe import describe_asset
from export.targets.coreai.usage import usage_python
from export.verify.expected import Expected
from export.verify.readback import Saved
from hydramobile.artifact import Entry
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

SUPPORTED = ("float32", "float16")
PACKAGES = ("coreai", "coreai_torch")
NOTE = "Core AI is in beta: its format may change, and an app needs iOS or macOS 27."


class CoreAITarget:
    """The Target of Core AI assets. `convert` does nothing, because each recipe converts modules of its precision."""

    name = "coreai"
    static_bits = 8
    toolchain = ("coreai-torch", "coreai-core")
    storage = None

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.name in SUPPORTED else f"coreai has {', '.join(SUPPORTED)}"

    def unavailable(self) -> str | None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: scripts/setup.sh coreai" if missing else None

    def convert(self, program: Program, scratch: Path) -> None:
        return None

    def emit(self, program: Program, converted: None, recipe: Recipe, folder: Path) -> Emitted:
        file = f"{program.spec.name}.aimodel"
        modules = halve(program.modules) if recipe.name == "float16" else program.modules
        save_asset(convert_modules(program, modules), folder / file, program)
        entries = tuple(file_entry(program, spec, file) for spec in program.entries)
        return Emitted(entries, {"ios": "27.0", "macos": "27.0"}, (NOTE,))

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        """Return none: only Apple's runtime reads the weights of an .aimodel, and no recipe here quantizes them."""
        return iter(())

    def originals(self, program: Program, converted: None, recipe: Recipe) -> Mapping[str, Expected]:
        return {}

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_asset(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_python(emitted)


def file_entry(program: Program, spec: EntrySpec, file: str) -> Entry:
    """Return the artifact entry of one function of the asset."""
    return Entry(
        id=spec.name,
        name=spec.name,
        modules=spec.modules,
        file=file,
        inputs=tuple(program.port(name) for name in spec.inputs),
        outputs=tuple(program.port(name) for name in spec.outputs),
        function=spec.name,
    )
