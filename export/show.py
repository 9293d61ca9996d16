"""What the export commands print: tables, a progress display, a tree of facts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.tree import Tree

from export.driver import Outcome
from export.driver import Progress as Report
from export.quantize.layers import Layer
from export.target import load_target
from hydramobile.budget import load_budget
from hydramobile.recipe_files import find_recipe
from hydramobile.recipes import GRID
from hydramobile.spec import ModelSpec
from hydramobile.support import GOOD, caution, standing
from hydramobile.targets import KNOWN, target_info

# Names worth a row in `list`; the grammar has more, each target says what it takes.
LISTED = GRID
STYLE = {"exported": "green", "up to date": "green", "not supported": "yellow", "failed": "red", "unavailable": "red"}


@contextmanager
def progress_display(jobs: Mapping[str, Sequence[str]], quiet: bool) -> Iterator[Report]:
    """A line a target with its current stage and the time; plain lines where the output is not a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield (lambda target, text: None) if quiet else (lambda target, text: console.print(f"{target}: {text}"))
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as bar:
        tasks = {target: bar.add_task(f"{target}: waiting") for target in jobs}
        yield lambda target, text: bar.update(tasks[target], description=f"{target}: {text}")


def outcome_table(outcomes: Sequence[Outcome]) -> None:
    table = Table("target", "recipe", "state", "seconds", "reason")
    for outcome in sorted(outcomes, key=lambda item: (item.target, item.recipe)):
        style = STYLE[outcome.state]
        reason = f"{outcome.stage}: {outcome.reason}" if outcome.stage else outcome.reason
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else ""
        table.add_row(outcome.target, outcome.recipe, f"[{style}]{outcome.state}[/]", seconds, reason)
    Console().print(table)


def cautions(spec: ModelSpec, outcomes: Sequence[Outcome]) -> None:
    """Say which of the recipes that were made are not known to stand."""
    made = [outcome for outcome in outcomes if outcome.state in ("exported", "up to date")]
    for outcome in sorted(made, key=lambda item: (item.target, item.recipe)):
        if text := caution(spec, outcome.target, outcome.recipe):
            Console(stderr=True).print(f"note: {text}", highlight=False, markup=False)


def support_rows(spec: ModelSpec) -> list[dict[str, str]]:
    """A row a target and recipe, the model's own recipes included. `refused`: why the target does not make it; `stands`
    and `reason`: what the model's support.json says of it, the only ground to call it supported."""
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
    table = Table("platform", "target", "recipe", "supported", "reason")
    for row in rows:
        supported = f"[green]yes[/], {row['stands']}" if row["stands"] in GOOD else f"[yellow]no[/], {row['stands']}"
        table.add_row(row["platform"], row["target"], row["recipe"], supported, row["reason"])
    Console().print(table)


def layer_rows(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """Name, shape, values, and bytes at float32."""
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
    table = Table("layer", "shape", "values", "bytes")
    for row in rows:
        table.add_row(row["layer"], " x ".join(map(str, row["shape"])), f"{row['values']:,}", f"{row['bytes']:,}")
    Console().print(table)


def doctor_rows() -> list[dict[str, str]]:
    rows = []
    for name in KNOWN:
        target = load_target(name)
        found = ", ".join(f"{package} {installed(package)}" for package in target.toolchain)
        rows.append({"target": name, "packages": found, "unavailable": target.unavailable() or ""})
    return rows


def installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def doctor_table(rows: Sequence[Mapping[str, str]]) -> None:
    table = Table("target", "packages", "export here")
    for row in rows:
        table.add_row(
            row["target"], row["packages"], f"[red]no: {row['unavailable']}[/]" if row["unavailable"] else "yes"
        )
    Console().print(table)


def facts_tree(facts: Mapping[str, Any]) -> None:
    tree = Tree(str(facts.get("path", "artifact")))
    grow(tree, facts)
    Console().print(tree)


def grow(tree: Tree, value: Any) -> None:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if isinstance(item, Mapping | list | tuple) and item and not is_row(item):
            grow(tree.add(f"[bold]{key}[/]"), item)
        else:
            tree.add(f"[bold]{key}[/] {item}")


def is_row(value: Any) -> bool:
    """Short lists of scalars (a shape) read better on one line."""
    return isinstance(value, list | tuple) and not any(isinstance(item, Mapping | list | tuple) for item in value)
