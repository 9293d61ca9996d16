"""Decode the weights of a saved package with coremltools' own reader, and state how a recipe should store each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from math import log2, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.program import Program
from export.quantize.half_range import holds
from export.targets.coreml import compress
from export.targets.coreml.convert import PackageCache
from export.targets.coreml.static_weights import integer_weights
from export.targets.coreml.vendor import load_coremltools
from export.verify.expected import Expected, expect, expect_layer, expect_unchanged, recipe_finder
from export.verify.readback import STAGE, Saved
from hydramobile.artifact import Entry
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

Array = NDArray[Any]
# Suffixes that conversion and compression append to the name of a weight.
SUFFIXES = re.compile(r"(_to_fp16|_quantized|_palettized|_sparsified)+$")
# Constants without a name in the net are numbered in their order, which may differ between precisions.
NUMBERED = re.compile(r"const_\d+")
SMALL = 16


def read_weights(folder: Path, entries: tuple[Entry, ...]) -> Iterator[Saved]:
    """Yield every weight of every function of the packages, as "<entry id>/<name>"."""
    for file in dict.fromkeys(entry.file for entry in entries):
        functions = read_functions(folder / file)
        for entry in (entry for entry in entries if entry.file == file):
            for weight in functions[entry.function or "main"]:
                yield Saved(f"{entry.id}/{weight.name}", weight.values, weight.storage)


def read_functions(package: Path) -> dict[str, list[Saved]]:
    """Return each function's float constants of two or more dimensions, by their names before conversion.

    Raises StageError("readback") for a damaged package.
    """
    ct = load_coremltools()
    load = import_module("coremltools.converters.mil.frontend.milproto.load").load
    try:
        model = ct.models.MLModel(str(package), skip_model_load=True)
        spec = model.get_spec()
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)
        return {name: list(constants(function)) for name, function in program.functions.items()}
    except Exception as error:  # the reader asserts on damaged files, with errors of every type
        raise StageError(STAGE, f"{package} cannot be read back: {type(error).__name__}: {error}") from error


def constants(function: Any) -> Iterator[Saved]:
    """Yield the float constants of two or more dimensions of a function."""
    for op in function.operations:
        if op.op_type != "const" and not op.op_type.startswith("constexpr_"):
            continue
        if len(op.outputs) != 1 or any(child.op_type.startswith("constexpr_") for child in op.outputs[0].child_ops):
            continue  # a part of a compressed weight
        shape = tuple(op.outputs[0].shape)
        if len(shape) < 2 or prod(shape) <= SMALL:
            continue
        value = np.asarray(op.outputs[0].val if op.op_type == "const" else op.materialized_val_inference())
        if value.dtype.kind == "f":
            yield Saved(SUFFIXES.sub("", op.outputs[0].name), value, storage_of(op))


def storage_of(op: Any) -> str:
    """Return the type of the stored codes; for a sparse weight, the type of its nonzero elements."""
    if op.op_type == "constexpr_sparse_to_dense":
        source = op.nonzero_data.op
        return storage_of(source) if source is not None and source.op_type != "const" else type_name(op.nonzero_data)
    if op.op_type == "constexpr_lut_to_dense" or op.op_type == "constexpr_lut_to_sparse":
        entries = op.lut.shape[0] if len(op.lut.shape) == 1 else op.lut.shape[-2]
        return f"palette{int(log2(entries))}"
    if op.op_type == "constexpr_affine_dequantize":
        return type_name(op.quantized_data)
    if op.op_type == "constexpr_blockwise_shift_scale":
        return type_name(op.data)
    if op.op_type == "constexpr_sparse_blockwise_shift_scale":
        return type_name(op.nonzero_data)
    return type_name(op.outputs[0])


def type_name(var: Any) -> str:
    name = str(import_module("coremltools.converters.mil.mil.types").builtin_to_string(var.dtype))
    return {"fp16": "float16", "fp32": "float32"}.get(name, name)


def originals(program: Program, converted: PackageCache, recipe: Recipe) -> dict[str, Expected]:
    """Return the weights of every entry before the recipe, and how it stores each.

    They are read from the float32 package for float16 itself, from the package with quantize/dequantize pairs for
    static integers, and from the float16 package, which is compressed, for all other recipes.
    """
    expected: dict[str, Expected] = {}
    recipe_of = recipe_finder(program, recipe, "coreml") if recipe.base else None
    for entry in program.entries:
        package = source_package(converted, recipe, entry.name)
        wide = wide_weights(converted, recipe, entry)
        integers = {SUFFIXES.sub("", name) for name in integer_weights(package)} if recipe.activation_bits else set()
        for weight in read_functions(package)["main"]:
            name, value = weight.name, weight.values
            if recipe.scheme == "float" and NUMBERED.fullmatch(name):
                continue
            if recipe.activation_bits:
                compressed = name in integers
            else:
                compressed = recipe.scheme == "float" or reached(value, recipe, program.least_quantized())
            own = expect(value, recipe) if compressed else expect_unchanged(value, weight.storage)
            if recipe.name == "float16" and (name in wide or not holds(value)):
                own = replace(own, storage=("float16", "float32"))
            if recipe_of is not None:
                own = expect_layer(value, recipe_of(value), weight.storage)
            expected[f"{entry.name}/{name}"] = own
            if len(program.entries) > 1:
                expected[f"{entry.name}@separate/{name}"] = own
    return expected


def wide_weights(converted: PackageCache, recipe: Recipe, entry: EntrySpec) -> frozenset[str]:
    """Return the weights of operators that stay float32 under float16, by their names before conversion."""
    return converted.half_plan(entry).weights if recipe.name == "float16" else frozenset()


def source_package(converted: PackageCache, recipe: Recipe, entry: str) -> Path:
    """Return the package whose weights `recipe` stores."""
    if recipe.activation_bits:
        return converted.scratch / recipe.name / f"float16-{entry}.mlpackage"
    precision = "float32" if recipe.scheme == "float" else "float16"
    source = converted if recipe.scheme == "float" else compress.basis(converted, recipe)
    return source.package(entry, precision).package


def reached(value: Array, recipe: Recipe, least: int) -> bool:
    """Return whether a weight-only recipe compresses this weight.

    It does where the weight has `least` elements or more, and blocks (of input channels) or groups (of output channels)
    divide it.
    """
    axis = 0 if recipe.scheme == "palette" else 1
    return value.size >= least and (not recipe.block or value.shape[axis] % recipe.block == 0)
