"""Print the output of the export commands: tables, a progress display, a tree of facts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from export.driver import Outcome
from export.driver import Progress as Report
from export.quantize.layers import Layer
from export.target import load_target
from hydramobile.artifact import artifact_folder, read_artifact, ships
from hydramobile.budget import load_budget
from hydramobile.recipe_files import find_recipe
from hydramobile.recipes import GRID
from hydramobile.spec import ModelSpec
from hydramobile.support import GOOD, caution, standing
from hydramobile.targets import KNOWN, target_info

# Recipes with a row in `list`. The grammar has more; each target says which of them it has.
LISTED = GRID
STYLE = {"exported": "green", "up to date": "green", "not supported": "yellow", "failed": "red", "unavailable": "red"}


@contextmanager
def progress_display(jobs: Mapping[str, Sequence[str]], quiet: bool) -> Iterator[Report]:
    """Show one line per target with its current stage and the time; plain lines where the output is no terminal."""
    console = Console(stderr=True, markup=False)
    if quiet or not console.is_terminal:
        yield (lambda target, text: None) if quiet else (lambda target, text: console.print(f"{target}: {text}"))
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=console
    ) as bar:
        tasks = {target: bar.add_task(f"{target}: waiting") for target in jobs}
        yield lambda target, text: bar.update(tasks[target], description=f"{target}: {text}")


def outcome_table(outcomes: Sequence[Outcome]) -> None:
    """Print one row per outcome."""
    table = Table("target", "recipe", "state", "seconds", "reason")
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda item: (item.target, item.recipe)):
        # A reason is printed once, for all targets and recipes for which it holds.
        own = () if outcome.reason else (outcome.target, outcome.recipe)
        groups.setdefault((outcome.state, outcome.stage, outcome.reason, *own), []).append(outcome)
    for (state, stage, reason, *_), group in groups.items():
        text = f"{stage}: {reason}" if stage else reason
        seconds = f"{group[0].seconds:.1f}" if group[0].seconds else ""
        targets, recipes = where([(outcome.target, outcome.recipe) for outcome in group])
        table.add_row(targets, recipes, Text(state, STYLE[state]), seconds, text)
    Console(markup=False).print(table)


def where(pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return (targets, recipes) of a row that holds for several; a line per target where their recipes differ."""
    recipes: dict[str, list[str]] = {}
    for target, recipe in pairs:
        recipes.setdefault(target, []).append(recipe)
    lines = [", ".join(own) for own in recipes.values()]
    if len(set(lines)) == 1:
        return ", ".join(recipes), lines[0]
    return "\n".join(recipes), "\n".join(lines)


def file_lines(spec: ModelSpec, outcomes: Sequence[Outcome], out: Path) -> None:
    """Print where each file is: the first entry of an artifact, and its size with all that an app ships beside it."""
    for outcome in sorted(outcomes, key=lambda item: (item.target, item.recipe)):
        if outcome.state in ("exported", "up to date"):
            folder = artifact_folder(out, spec.name, outcome.target, outcome.recipe.rpartition(":")[2])
            artifact = read_artifact(folder)
            entry = next((entry for entry in artifact.entries if not entry.variant), artifact.entries[0])
            size = sum(record.bytes for record in ships(artifact)) / 1e6
            text = f"{outcome.target} {outcome.recipe}: {folder / entry.file} ({size:.2f} MB)"
            Console(markup=False).print(text, highlight=False, soft_wrap=True)


def cautions(spec: ModelSpec, outcomes: Sequence[Outcome]) -> None:
    """Print which of the exported recipes are not known to be supported."""
    exported = [outcome for outcome in outcomes if outcome.state in ("exported", "up to date")]
    for outcome in sorted(exported, key=lambda item: (item.target, item.recipe)):
        if text := caution(spec, outcome.target, outcome.recipe):
            Console(stderr=True, markup=False).print(f"note: {text}", highlight=False, markup=False)


def support_rows(spec: ModelSpec) -> list[dict[str, str]]:
    """Return one row per target and recipe, the model's own recipes included.

    `refused` is the reason why the target lacks the recipe. `stands` and `reason` come from the model's support.json,
    which alone decides whether a recipe is supported.
    """
    budget = load_budget(spec)
    rows = []
    for name in KNOWN:
        target = load_target(name)
        for entry in dict.fromkeys((*LISTED, *budget.recipes(name))):
            refused = target.refuses(find_recipe(spec, name, entry)) or ""
            stands, reason = ("not made", refused) if refused else standing(spec, name, entry)
            about = {"platform": target_info(name).platform, "target": name, "recipe": entry}
            rows.append({**about, "refused": refused, "stands": stands, "reason": reason})
    return rows


def support_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print the rows of `support_rows`."""
    table = Table("platform", "target", "recipe", "supported", "reason")
    for row in rows:
        supported = (
            Text.assemble(("yes", "green"), f", {row['stands']}")
            if row["stands"] in GOOD
            else Text.assemble(("no", "yellow"), f", {row['stands']}")
        )
        table.add_row(row["platform"], row["target"], row["recipe"], supported, row["reason"])
    Console(markup=False).print(table)


def layer_rows(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """Return the name, shape, elements, and bytes at float32 of each layer."""
    return [
        {
            "layer": layer.name,
            "shape": list(layer.value.shape),
            "values": int(layer.value.size),
            "bytes": int(layer.value.nbytes),
        }
        for layer in layers
    ]


def layer_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows of `layer_rows`."""
    table = Table("layer", "shape", "values", "bytes")
    for row in rows:
        table.add_row(row["layer"], " x ".join(map(str, row["shape"])), f"{row['values']:,}", f"{row['bytes']:,}")
    Console(markup=False).print(table)


def doctor_rows() -> list[dict[str, str]]:
    """Return each target's packages with their versions, and why it cannot be exported here, if so."""
    rows = []
    for name in KNOWN:
        target = load_target(name)
        packages = ", ".join(f"{package} {installed(package)}" for package in target.toolchain)
        rows.append({"target": name, "packages": packages, "unavailable": target.unavailable() or ""})
    return rows


def installed(package: str) -> str:
    """Return the version of a package, or "not installed"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def doctor_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print the rows of `doctor_rows`."""
    table = Table("target", "packages", "export here")
    for row in rows:
        table.add_row(
            row["target"], row["packages"], Text(f"no: {row['unavailable']}", "red") if row["unavailable"] else "yes"
        )
    Console(markup=False).print(table)


def facts_tree(facts: Mapping[str, Any]) -> None:
    """Print nested facts as a tree."""
    tree = Tree(str(facts.get("path", "artifact")))
    grow(tree, facts)
    Console(markup=False).print(tree)


def grow(tree: Tree, value: Any) -> None:
    """Add the items of a mapping or a sequence to a tree."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if isinstance(item, Mapping | list | tuple) and item and not is_row(item):
            grow(tree.add(Text(str(key), "bold")), item)
        else:
            tree.add(Text.assemble((str(key), "bold"), f" {item}"))


def is_row(value: Any) -> bool:
    """Return whether `value` is a list of scalars (a shape), which reads better on one line."""
    return isinstance(value, list | tuple) and not any(isinstance(item, Mapping | list | tuple) for item in value)
