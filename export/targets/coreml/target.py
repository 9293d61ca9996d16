"""Core ML: ML programs in .mlpackage folders, converted by coremltools.

Two ways to ship the same modules: one multifunction package in which every entry is a function and equal
weights are stored once (iOS 18), and one package an entry (iOS 16 and up, in `separate/`).
A model of a single entry is one plain package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.program import Program
from export.quantize.layers import Plan, make_plan
from export.target import Emitted, LayerStorage
from export.targets.coreml import compress, layerwise, readback
from export.targets.coreml.convert import Converted, Plain, convert_all, merge, plain_package
from export.targets.coreml.describe import describe_package
from export.targets.coreml.package import Location, describe_entry, function_name, seal
from export.targets.coreml.static import convert_pairs, quantize_static_weights
from export.targets.coreml.usage import usage_text
from export.verify.readback import Saved, Wanted
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

__all__ = ["CoreMLTarget"]

# What is made without compressing weights alone. All other recipes compress those of the float16 package.
MADE = ("float32", "float16", "w8a8")
MULTIFUNCTION_IOS = 18


class CoreMLTarget:
    name = "coreml"
    static_bits = 8
    toolchain = ("coremltools", "torch", "numpy", "protobuf")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.plain in MADE or recipe.base else compress.refuses(recipe)

    def unavailable(self) -> str | None:
        if find_spec("coremltools") is None:
            return "coremltools is not installed; run: make setup"
        return None

    def convert(self, program: Program, scratch: Path) -> Converted:
        check_names(program)
        return convert_all(program, scratch)

    def emit(self, program: Program, converted: Converted, recipe: Recipe, folder: Path) -> Emitted:
        reason = self.refuses(recipe)
        if reason:
            raise StageError("emit", reason)
        source = (
            convert_pairs(program, recipe, converted) if recipe.activation_bits else compress.basis(converted, recipe)
        )
        plan = make_plan(program, recipe, self.name, self.storage) if recipe.base else None
        plain = {entry.name: make_plain(program, source, entry.name, recipe, plan) for entry in program.entries}
        notes = tuple(row.note for row in plain.values() if row.note)
        notes += plan.finish(self.name) if plan else ()
        oldest = max(row.ios for row in plain.values())
        if len(plain) == 1:
            written = (write_single(program, plain, folder),)
            return Emitted(written, {"ios": f"{oldest}.0"}, notes, plan.stored() if plan else {})
        merged = converted.scratch / f"{recipe.name}-multifunction.mlpackage"
        # The fused entry is what most apps call first; without one, the model's last module.
        default = function_name(program.entries[-1].name)
        merge({function_name(name): row.package for name, row in plain.items()}, default, merged)
        file = f"{program.spec.name}.mlpackage"
        model = seal(merged, folder / file, program, program.entries)
        entries = [
            describe_entry(model, program, entry, Location(file, function_name(entry.name)))
            for entry in program.entries
        ]
        for entry in program.entries:
            file = f"separate/{entry.name}.mlpackage"
            model = seal(plain[entry.name].package, folder / file, program, (entry,))
            entries.append(describe_entry(model, program, entry, Location(file, variant="separate")))
        requires = {"ios": f"{MULTIFUNCTION_IOS}.0", "ios-separate": f"{oldest}.0"}
        return Emitted(tuple(entries), requires, notes, plan.stored() if plan else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(self, program: Program, converted: Converted, recipe: Recipe) -> Mapping[str, Wanted]:
        return readback.originals(program, converted, recipe)

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_package(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_text(emitted)


def check_names(program: Program) -> None:
    """Two entries whose names differ by "-" and "_" alone would be one function."""
    names: dict[str, str] = {}
    for entry in program.entries:
        clash = names.setdefault(function_name(entry.name), entry.name)
        if clash != entry.name:
            raise StageError("convert", f"entries {clash!r} and {entry.name!r} have the same name as Core ML functions")


def make_plain(program: Program, converted: Converted, name: str, recipe: Recipe, layers: Plan | None) -> Plain:
    """The single-function package of an entry in `recipe`, in the scratch folder."""
    precision = "float32" if recipe.name == "float32" else "float16"
    plain = plain_package(program, converted, program.spec.entries[name], precision)
    package = converted.scratch / f"{recipe.name}-{name}.mlpackage"
    if recipe.activation_bits:
        return quantize_static_weights(plain, package)
    if recipe.scheme == "float":
        return plain
    if layers:
        return layerwise.compress_layers(plain, package, layers)
    return compress.compress_weights(plain, package, recipe, program.least_quantized())


def write_single(program: Program, plain: dict[str, Plain], folder: Path) -> Entry:
    (entry,) = program.entries
    file = f"{program.spec.name}.mlpackage"
    model = seal(plain[entry.name].package, folder / file, program, (entry,))
    return describe_entry(model, program, entry, Location(file))
