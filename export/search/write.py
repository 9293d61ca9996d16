"""What a search leaves behind: the recipes, and the chart of everything it tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.layers import Layer, assign
from export.search.builds import Build
from models.errors import StageError
from models.files import write_text
from models.named import FILE
from models.recipes import Recipe
from models.spec import ModelSpec

if TYPE_CHECKING:
    from export.search.run import Tried

# Around a build of a target; a search replaces its own and leaves everything else.
BEGIN, END = "# search: begin {}", "# search: end {}"
INTRO = "# Recipes layer by layer (models/named.py). What stands between begin and end: python -m export search"
HUES = {"coreml": "#d55e00", "litert": "#009e73", "onnx": "#2e8bc0", "tfjs": "#cc79a7"}


def write_recipes(
    spec: ModelSpec, layers: Mapping[str, Layer], least: int, chosen: Mapping[tuple[str, str], Tried]
) -> Path:
    """The chosen builds in the model's recipes.toml; what others wrote there, and other builds, stay.

    Raises StageError("recipes") where one of the names is taken outside of what a search wrote.
    """
    path = spec.folder / FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else INTRO + "\n"
    for made in chosen.values():
        key = f"{made.build}.{made.target}"
        begin, end = BEGIN.format(key), END.format(key)
        block = "\n".join([begin, *table(made, layers, least), end])
        before, found, rest = text.partition(begin + "\n")
        if found:
            text = before + block + rest.partition(end)[2]
        elif f"[recipes.{key}]" in text:
            raise StageError("recipes", f"{path} has a [recipes.{key}] of its own; rename it, a search writes that one")
        else:
            text = f"{text.rstrip()}\n\n{block}\n"
    write_text(path, text)
    return path


def table(made: Tried, layers: Mapping[str, Layer], least: int) -> list[str]:
    """A target's table: the most frequent option as the base, a line for every layer that has another."""
    counts = Counter(text for name, text in made.choice.items() if layers[name].value.size >= least)
    base = (counts or Counter(made.choice.values())).most_common(1)[0][0]
    plain = assign(layers, Recipe(made.build, "mixed", 8, base=base), least, made.target)
    lines = [
        f"[recipes.{made.build}.{made.target}]",
        f'base = "{base}"',
        f"[recipes.{made.build}.{made.target}.layers]",
    ]
    return [*lines, *(f'"{name}" = "{text}"' for name, text in made.choice.items() if plain[name].name != text)]


def write_chart(path: Path, rows: Sequence[Tried], builds: Sequence[Build]) -> None:
    """Bytes against the worst sample's loss, a panel an output; the chosen builds are named, limits are lines."""
    from matplotlib.figure import Figure

    outputs = list(dict.fromkeys(name for row in rows for name in row.losses))
    figure = Figure(figsize=(7.2, 3.6 * len(outputs)), layout="constrained")
    for place, output in enumerate(outputs):
        axes: Any = figure.add_subplot(len(outputs), 1, place + 1)
        for target in dict.fromkeys(row.target for row in rows):
            own = [row for row in rows if row.target == target and output in row.losses]
            points = [(row.bytes / 1e6, 100 * max(row.losses[output].worst, 1e-5), row) for row in own]
            hue = HUES.get(target, "#8a8f98")
            axes.scatter([x for x, _, r in points if not r.chosen], [y for _, y, r in points if not r.chosen],
                         s=14, color=hue, alpha=0.45)  # fmt: skip
            final = [(x, y, row) for x, y, row in points if row.chosen]
            axes.scatter([x for x, _, _ in final], [y for _, y, _ in final], s=60, color=hue, label=target,
                         edgecolor="black", linewidth=0.8)  # fmt: skip
            for x, y, row in final:
                axes.annotate(row.build, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, color=hue)
        for build in builds:
            axes.axhline(100 * build.worst, color="#8a8f98", linewidth=0.8, linestyle=":")
            for target, limit in build.sizes.items():
                axes.axvline(limit / 1e6, color=HUES.get(target, "#8a8f98"), linewidth=0.8, linestyle="--")
        axes.set(yscale="log", xlabel="MB an app ships", ylabel=f"{output}: worst sample's loss, %")
        axes.legend(fontsize=8, title="dashed: size limit, dotted: loss limit", title_fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=150, metadata={"Software": None})
    temporary.replace(path)
