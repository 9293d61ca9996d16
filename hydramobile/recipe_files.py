"""Read named recipes, which store layers differently: models/<name>/recipes.toml, or any file as FILE.toml:NAME.

    [recipes.compact]
    description = "..."
    base = "w8"                                   # a recipe of the grammar (hydramobile/recipes.py)
    layers = { "encoder.blocks.9.*" = "w4" }      # by name pattern (* ? [...]); the last pattern that matches decides
    weights = "fine-tuned.safetensors"            # beside this file, instead of the model's: python -m reference qat
    [recipes.compact.coreml]                      # for a target that lacks a scheme, or has a better one
    base = "p6"
    layers = { "encoder.blocks.9.*" = "p4g16" }

A layer's name is its path in the PyTorch net (`python -m export layers`). A layer that no pattern matches is stored as
in the base recipe; small layers then stay float, as they do in the base recipe itself (`FLOAT_SHARE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hydramobile.errors import StageError, UsageError, unknown
from hydramobile.files import inside, sha256_file
from hydramobile.recipes import GRAMMAR, WORDS, Recipe, recipe
from hydramobile.spec import NAME, ModelSpec
from hydramobile.targets import KNOWN, resolve_pairs
from hydramobile.toml_table import Table, read_toml

STAGE = "recipes"
FILE = "recipes.toml"


@dataclass(frozen=True, slots=True)
class Named:
    """A named recipe. `recipes` maps each target for which the file defines it to its definition there."""

    name: str
    description: str
    recipes: Mapping[str, Recipe]


def find_recipe(spec: ModelSpec, target: str, text: str) -> Recipe:
    """Return a recipe for a target. `text` is a name of the grammar or of the model's recipes.toml, or FILE.toml:NAME.

    Raises UsageError that lists the available names, and StageError("recipes") for a malformed file.
    """
    if GRAMMAR.fullmatch(text):
        return recipe(text)
    named = find_named(spec, text)
    if target not in named.recipes:
        raise UsageError(f"{named.name!r} is not defined for {target} (it is for {', '.join(named.recipes)})")
    chosen = named.recipes[target]
    if not chosen.weights:
        return chosen
    # Beside the recipes, never a file elsewhere on the machine of the person who runs them.
    weights = inside(recipes_file(spec, text)[0].parent, chosen.weights, STAGE)
    if not weights.is_file():
        raise StageError(STAGE, f"{named.name!r} has weights of its own, and there is no file {weights}")
    return replace(chosen, weights=str(weights), weights_sha256=sha256_file(weights))


def find_named(spec: ModelSpec, text: str) -> Named:
    """Return a named recipe for all its targets. Raises as `find_recipe` does."""
    path, name = recipes_file(spec, text)
    elsewhere = name != text
    if elsewhere and not path.is_file():
        raise UsageError(f"no recipes at {path} (asked for {text!r})")
    known = read_named(path) if path.is_file() else {}
    if name not in known:
        raise UsageError(f"{unknown('recipe', name, (*known, 'float32', 'float16', 'w8'))}; grammar: {WORDS}")
    return known[name]


def recipes_file(spec: ModelSpec, text: str) -> tuple[Path, str]:
    """Return (file, name) of a named recipe that is asked for as `text`."""
    file, _, name = text.rpartition(":")
    return (Path(file), name) if file.endswith(".toml") else (spec.folder / FILE, text)


def check_name(spec: ModelSpec, text: str) -> str:
    """Return `text` if it names a recipe of any target. Raises as `find_recipe` does."""
    if not GRAMMAR.fullmatch(text):
        find_named(spec, text)
    return text


def has_recipe(spec: ModelSpec, target: str, text: str) -> bool:
    """Return whether an existing recipe `text` is defined for a target."""
    return bool(GRAMMAR.fullmatch(text)) or target in find_named(spec, text).recipes


def resolve_only(spec: ModelSpec, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Run `resolve_pairs` with the model's named recipes. TARGET/FILE.toml:NAME names a recipe of another file."""
    path = spec.folder / FILE
    known, asked = set(read_named(path) if path.is_file() else ()), list[str]()
    for text in names:
        first, _, second = text.partition("/")
        if second.rpartition(":")[0].endswith(".toml"):
            second = find_named(spec, second).name
            known.add(second)
            text = f"{first}/{second}"
        asked.append(text)
    return resolve_pairs(asked, known)


def read_named(path: Path) -> dict[str, Named]:
    """Read the recipes of a file, in its order. Raises StageError("recipes") for a malformed file."""
    top = read_toml(path, STAGE)
    result: dict[str, Named] = {}
    for name, table in top.tables("recipes"):
        if GRAMMAR.fullmatch(name):
            raise table.error(f"{name!r} is a recipe of the grammar already; choose another name")
        if not re.fullmatch(NAME, name):
            raise table.error(f"{name!r} does not match {NAME.pattern}")
        result[name] = read_one(name, table)
    top.done()
    if not result:
        raise top.error("holds no [recipes.NAME]")
    return result


def read_one(name: str, table: Table) -> Named:
    description = table.string("description", "")
    shared = read_layers(name, table) if "base" in table.data else None
    recipes: dict[str, Recipe] = dict.fromkeys(KNOWN, shared) if shared else {}
    for target in KNOWN:
        if target in table.data:
            inner = table.table(target)
            recipes[target] = read_layers(name, inner)
            inner.done()
    if "layers" in table.data and shared is None:
        raise table.error("has 'layers' but no 'base'")
    table.done()
    if not recipes:
        raise table.error(f"has neither a 'base' nor a table of a target ({', '.join(KNOWN)})")
    return Named(name, description, recipes)


def read_layers(name: str, table: Table) -> Recipe:
    """Read `base`, `layers` and `weights` of one table."""
    base = read_weight_recipe(table, "base")
    inner = table.table("layers", {})
    layers = tuple((pattern, read_weight_recipe(inner, pattern).name) for pattern in inner.data)
    bits = min(recipe(text).weight_bits for text in (base.name, *(text for _, text in layers)))
    weights = table.string("weights", "")
    return Recipe(name, "mixed", bits, base=base.name, layers=layers, weights=weights)


def read_weight_recipe(table: Table, key: str) -> Recipe:
    """Read the name of a recipe that concerns the storage of weights alone."""
    text = table.string(key)
    try:
        result = recipe(text)
    except UsageError as error:
        raise table.error(f"{key!r}: {error}") from error
    if result.activation_bits or result.dynamic:
        raise table.error(f"{key!r}: {text!r} computes in integers; a layer says only how its weights are stored")
    return result
