"""Core ML: ML programs in .mlpackage folders, converted by coremltools.

A model of several entries is shipped in two ways. One multifunction package has a function per entry, with equal
weights stored once (iOS 18). In `separate/` each entry has a package of its own (iOS 16 and newer). A model of a single
entry is one single-function package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.program import Program
from export.quantize.plan import LayerMatcher, build_plan
from export.quantize.storage import LayerStorage
from export.target import Emitted
from export.targets.coreml import compress, layerwise, readback
from export.targets.coreml.convert import PackageCache, SingleFunctionPackage, convert_all, merge_functions
from export.targets.coreml.describe import describe_package
from export.targets.coreml.names import function_name
from export.targets.coreml.package import Location, describe_entry, seal
from export.targets.coreml.patches.validate_once import validate_once
from export.targets.coreml.static import insert_qdq
from export.targets.coreml.static_weights import quantize_static_weights
from export.targets.coreml.usage import usage_text
from export.targets.coreml.vendor import load_coremltools
from export.verify.expected import Expected
from export.verify.readback import Saved
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe

__all__ = ["CoreMLTarget"]

# Recipes that do not use compress.py. All others compress the weights of the float16 package.
UNCOMPRESSED = ("float32", "float16", "w8a8")
MULTIFUNCTION_IOS = 18
SEPARATE = "separate"


class CoreMLTarget:
    name = "coreml"
    static_bits = 8
    toolchain = ("coremltools", "torch", "numpy", "protobuf")
    storage: LayerStorage = layerwise

    def refuses(self, recipe: Recipe) -> str | None:
        return None if recipe.plain in UNCOMPRESSED or recipe.base else compress.refuses(recipe)

    def unavailable(self) -> str | None:
        if find_spec("coremltools") is None:
            return "coremltools is not installed; run: make setup"
        return None

    def convert(self, program: Program, scratch: Path) -> PackageCache:
        check_names(program)
        load_coremltools()
        with validate_once():
            return convert_all(program, scratch)

    def emit(self, program: Program, converted: PackageCache, recipe: Recipe, folder: Path) -> Emitted:
        reason = self.refuses(recipe)
        if reason:
            raise StageError("emit", reason)
        with validate_once():
            return self.write(program, converted, recipe, folder)

    def write(self, program: Program, converted: PackageCache, recipe: Recipe, folder: Path) -> Emitted:
        """Write the packages of a recipe, which the target does not refuse."""
        source = insert_qdq(program, recipe, converted) if recipe.activation_bits else compress.basis(converted, recipe)
        matcher = LayerMatcher(build_plan(program, recipe, self.name, self.storage)) if recipe.base else None
        packages = {entry.name: make_package(program, source, entry.name, recipe, matcher) for entry in program.entries}
        notes = tuple(package.note for package in packages.values() if package.note)
        notes += matcher.notes(self.name) if matcher else ()
        oldest = max(package.ios for package in packages.values())
        entries: tuple[Entry, ...]
        if len(packages) == 1:
            entries = (write_single(program, packages, folder),)
            requires = {"ios": f"{oldest}.0"}
        else:
            merged = converted.scratch / f"{recipe.name}-multifunction.mlpackage"
            entries = (*write_merged(program, packages, merged, folder), *write_separate(program, packages, folder))
            requires = {"ios": f"{MULTIFUNCTION_IOS}.0", "ios-separate": f"{oldest}.0"}
        return Emitted(entries, requires, notes, matcher.stored() if matcher else {})

    def read_weights(self, folder: Path, emitted: Emitted) -> Iterator[Saved]:
        return readback.read_weights(folder, emitted.entries)

    def originals(self, program: Program, converted: PackageCache, recipe: Recipe) -> Mapping[str, Expected]:
        return readback.originals(program, converted, recipe)

    def describe(self, path: Path) -> dict[str, Any]:
        return describe_package(path)

    def usage(self, emitted: Emitted) -> str:
        return usage_text(emitted)


def check_names(program: Program) -> None:
    """Raise StageError("convert") where the names of two entries differ only by "-" and "_": one function name."""
    names: dict[str, str] = {}
    for entry in program.entries:
        clash = names.setdefault(function_name(entry.name), entry.name)
        if clash != entry.name:
            raise StageError("convert", f"entries {clash!r} and {entry.name!r} have the same name as Core ML functions")


def make_package(
    program: Program, converted: PackageCache, entry: str, recipe: Recipe, matcher: LayerMatcher | None
) -> SingleFunctionPackage:
    """Return the package of an entry in `recipe`, below the scratch folder. `matcher` is for named recipes."""
    source = converted.package(entry, "float32" if recipe.name == "float32" else "float16")
    path = converted.scratch / f"{recipe.name}-{entry}.mlpackage"
    if recipe.activation_bits:
        return quantize_static_weights(source, path)
    if recipe.scheme == "float":
        return source
    if matcher:
        return layerwise.compress_layers(source, path, matcher)
    return compress.compress_weights(source, path, recipe, program.least_quantized())


def write_single(program: Program, packages: Mapping[str, SingleFunctionPackage], folder: Path) -> Entry:
    """Write the package of the only entry."""
    (entry,) = program.entries
    file = f"{program.spec.name}.mlpackage"
    model = seal(packages[entry.name].package, folder / file, program, (entry,))
    return describe_entry(model, program, entry, Location(file))


def write_merged(
    program: Program, packages: Mapping[str, SingleFunctionPackage], merged: Path, folder: Path
) -> list[Entry]:
    """Write the multifunction package, which coremltools saves at `merged`."""
    # The fused entry is what most apps call first. It is the last; without one, this is the model's last module.
    default = function_name(program.entries[-1].name)
    merge_functions({function_name(name): row.package for name, row in packages.items()}, default, merged)
    file = f"{program.spec.name}.mlpackage"
    model = seal(merged, folder / file, program, program.entries)
    return [
        describe_entry(model, program, entry, Location(file, function_name(entry.name))) for entry in program.entries
    ]


def write_separate(program: Program, packages: Mapping[str, SingleFunctionPackage], folder: Path) -> list[Entry]:
    """Write one package per entry."""
    entries = []
    for entry in program.entries:
        file = f"{SEPARATE}/{entry.name}.mlpackage"
        model = seal(packages[entry.name].package, folder / file, program, (entry,))
        entries.append(describe_entry(model, program, entry, Location(file, variant=SEPARATE)))
    return entries
