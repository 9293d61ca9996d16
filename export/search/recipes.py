"""Write the builds that a search chose into the model's recipes.toml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from export.quantize.layers import Layer, layer_recipes
from export.search.trial import Trial
from hydramobile.errors import StageError
from hydramobile.files import write_text
from hydramobile.recipe_files import FILE
from hydramobile.recipes import Recipe
from hydramobile.spec import ModelSpec

# Around a build of a target: a search replaces its own blocks and leaves everything else.
BEGIN, END = "# search: begin {}", "# search: end {}"
INTRO = "# Recipes layer by layer (see README.md). python -m export search writes the blocks between begin and end."


def write_recipes(
    spec: ModelSpec, layers: Mapping[str, Layer], least: int, chosen: Mapping[tuple[str, str], Trial]
) -> Path:
    """Write the chosen builds into the model's recipes.toml; other recipes, and other builds, stay.

    Raises StageError("recipes") where a recipe outside the search's blocks has the name of a build.
    """
    path = spec.folder / FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else INTRO + "\n"
    for trial in chosen.values():
        key = f"{trial.build}.{trial.target}"
        begin, end = BEGIN.format(key), END.format(key)
        block = "\n".join([begin, *recipe_table(trial, layers, least), end])
        before, marker, rest = text.partition(begin + "\n")
        if marker:
            text = before + block + rest.partition(end)[2]
        elif f"[recipes.{key}]" in text:
            raise StageError("recipes", f"{path} has a [recipes.{key}] of its own; rename it, a search writes that one")
        else:
            text = f"{text.rstrip()}\n\n{block}\n"
    write_text(path, text)
    return path


def recipe_table(trial: Trial, layers: Mapping[str, Layer], least: int) -> list[str]:
    """Return the lines of a build's table: the most frequent option as the base, a line per layer with another."""
    counts = Counter(option for name, option in trial.choice.items() if layers[name].value.size >= least)
    base = (counts or Counter(trial.choice.values())).most_common(1)[0][0]
    by_base = layer_recipes(layers, Recipe(trial.build, "mixed", 8, base=base), least, trial.target)
    lines = [
        f"[recipes.{trial.build}.{trial.target}]",
        f'base = "{base}"',
        f"[recipes.{trial.build}.{trial.target}.layers]",
    ]
    return [*lines, *(f'"{name}" = "{text}"' for name, text in trial.choice.items() if by_base[name].name != text)]
