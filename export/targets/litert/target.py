"""LiteRTTarget: the steps of the LiteRT export, in order."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export.passes.base import run_passes
from export.program import Program
from export.quantize.plan import LayerMatcher, build_plan
from export.quantize.storage import LayerStorage
from export.target import Emitted
from export.targets.litert import flatbuffer, layerwise, readback
from export.targets.litert.convert import convert_modules
from export.targets.litert.describe import describe_file
from export.targets.litert.entries import assign_files, read_entries
from export.targets.litert.metadata import annotate, minimum_runtime
from export.targets.litert.pipeline import FLATBUFFER_PASSES
from export.targets.litert.recipes import SUPPORTED, apply_recipe
from export.targets.litert.static import quantize_static
from export.targets.litert.usage import usage_kotlin
from export.verify.expected import Expected
from export.verify.readback import Saved
from hydramobile.errors import StageError
from hydramobile.files import write_bytes
from hydramobile.recipes import Recipe

# int8_io: recipes with integer activations have int8 inputs and outputs.
OPTIONS = ("int8_io",)


class LiteRTTarget:
    """Export by litert-torch and ai-edge-quantizer. `convert` returns the modules' float32 .tflite."""

    name = "litert"
    static_bits = 8
    toolchain = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert", "flatbuffers")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.plain in SUPPORTED or recipe.base else f"litert has {', '.join(SUPPORTED)}"

    def unavailable(self) -> str | None:
        needed = ("torch", "litert_torch", "ai_edge_quantizer", "ai_edge_litert")
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} not installed; run: make setup" if missing else None

    def convert(self, program: Program, scratch: Path) -> bytes:
        options = program.spec.options.get("litert", {})
        if unknown := [key for key in options if key not in OPTIONS]:
            raise StageError("convert", f"[options.litert] has no {unknown[0]!r} (known: {', '.join(OPTIONS)})")
        return convert_modules(program)

    def emit(self, program: Program, converted: bytes, recipe: Recipe, folder: Path) -> Emitted:
        matcher = LayerMatcher(build_plan(program, recipe, self.name, self.storage)) if recipe.base else None
        data = layerwise.store_layers(converted, matcher) if matcher else quantized(program, converted, recipe)
        model = flatbuffer.compact(run_passes(flatbuffer.parse(data), FLATBUFFER_PASSES).program)
        runtime = minimum_runtime(model)
        files = assign_files(program, model)
        for name, content in files.models.items():
            write_bytes(folder / name, annotate(content, program, recipe, runtime))
        entries = read_entries(program, folder, files)
        notes = (*files.notes, *(matcher.notes(self.name) if matcher else ()))
        return Emitted(entries, {"litert": runtime}, notes, matcher.stored() if matcher else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(self, program: Program, converted: bytes, recipe: Recipe) -> Mapping[str, Expected]:
        return readback.originals(program, converted, recipe)

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_file(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_kotlin(emitted)


def quantized(program: Program, converted: bytes, recipe: Recipe) -> bytes:
    """Return the modules' float32 file with the dtypes of the recipe."""
    if recipe.calibrated:
        return quantize_static(program, converted, recipe)
    return apply_recipe(converted, recipe, program.least_quantized())
