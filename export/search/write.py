"""What a search leaves behind: the recipes, and the chart of everything it tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.quantize.layers import Layer, layer_recipes
from export.search.builds import Build
from export.search.trial import Trial
from hydramobile.errors import StageError
from hydramobile.files import write_text
from hydramobile.recipe_files import FILE
from hydramobile.recipes import Recipe
from hydramobile.spec import ModelSpec
from hydramobile.targets import GREY, KNOWN, target_info

# Around a build of a target; a search replaces its own and leaves everything else.
BEGIN, END = "# search: begin {}", "# search: end {}"
INTRO = "# Recipes layer by layer (see README.md). What stands between begin and end: python -m export search"


def write_recipes(
    spec: ModelSpec, layers: Mapping[str, Layer], least: int, chosen: Mapping[tuple[str, str], Trial]
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


def table(made: Trial, layers: Mapping[str, Layer], least: int) -> list[str]:
    """A target's table: the most frequent option as the base, a line for every layer that has another."""
    counts = Counter(text for name, text in made.choice.items() if layers[name].value.size >= least)
    base = (counts or Counter(made.choice.values())).most_common(1)[0][0]
    plain = layer_recipes(layers, Recipe(made.build, "mixed", 8, base=base), least, made.target)
    lines = [
        f"[recipes.{made.build}.{made.target}]",
        f'base = "{base}"',
        f"[recipes.{made.build}.{made.target}.layers]",
    ]
    return [*lines, *(f'"{name}" = "{text}"' for name, text in made.choice.items() if plain[name].name != text)]


def write_chart(
    path: Path, rows: Sequence[Trial], builds: Sequence[Build], ratios: Mapping[tuple[str, str], float]
) -> None:
    """Bytes against the worst sample's loss, a panel an output; the chosen builds are named, limits are lines.

    `ratios`: of (target, build), the time over float32's: a chosen build's colour, grey where nobody measured.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    outputs = list(dict.fromkeys(name for row in rows for name in row.losses))
    figure = Figure(figsize=(7.2, 3.6 * len(outputs)), layout="constrained")
    far = max((abs(ratio - 1) for ratio in ratios.values()), default=0.0)
    speed = ScalarMappable(TwoSlopeNorm(1.0, 1 - max(far, 0.05), 1 + max(far, 0.05)), "coolwarm")
    panels = [figure.add_subplot(len(outputs), 1, place + 1) for place in range(len(outputs))]
    for axes, output in zip(panels, outputs, strict=True):
        for target in dict.fromkeys(row.target for row in rows):
            own = [row for row in rows if row.target == target and output in row.losses]
            draw_target(axes, target, output, own, speed, ratios)
        for build in builds:
            axes.axhline(100 * build.worst, color=GREY, linewidth=0.8, linestyle=":")
            for target, limit in build.sizes.items():
                axes.axvline(limit / 1e6, color=target_info(target).colour, linewidth=0.8, linestyle="--")
        axes.set(yscale="log", xlabel="MB an app ships", ylabel=f"{output}: worst sample's loss, %")
        axes.margins(x=0.1)
    # Outside the panels: inside, it would hide what was tried.
    handles, names = panels[0].get_legend_handles_labels()
    title = "dashed: size limit, dotted: loss limit"
    figure.legend(
        handles, names, loc="outside upper center", ncols=len(names), fontsize=8, title=title, title_fontsize=7
    )
    if ratios:
        label = "time over float32's, same target, this computer's CPU (host); grey: not measured"
        figure.colorbar(speed, ax=panels, label=label)
    else:
        figure.supxlabel("grey: no build's latency was measured (python -m benchmarks latency)", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=150, metadata={"Software": None})
    temporary.replace(path)


def draw_target(
    axes: Any,
    target: str,
    output: str,
    rows: Sequence[Trial],
    speed: Any,
    ratios: Mapping[tuple[str, str], float],
) -> None:
    hue, marker = target_info(target).colour, target_info(target).marker
    points = [(row.bytes / 1e6, 100 * max(row.losses[output].worst, 1e-5), row) for row in rows]
    tried = [(x, y) for x, y, row in points if not row.chosen]
    axes.scatter([x for x, _ in tried], [y for _, y in tried], s=14, marker=marker, color=hue, alpha=0.35)
    # In the legend a target's shape and hue, whatever the colour of its builds.
    axes.scatter([], [], s=40, marker=marker, facecolor="white", edgecolor=hue, linewidth=1.2, label=target)
    for x, y, row in points:
        if row.chosen:
            ratio = ratios.get((target, row.build))
            face = GREY if ratio is None else speed.to_rgba(ratio)
            axes.scatter([x], [y], s=64, marker=marker, color=[face], edgecolor=hue, linewidth=1.2, zorder=3)
            text = row.build if ratio is None else f"{row.build} {ratio:.2f}x"
            # Neighbours of other targets at the same loss are common: each target has a height of its own.
            place = (4, 6 + 9 * (sorted(KNOWN).index(target) % 3))
            axes.annotate(text, (x, y), xytext=place, textcoords="offset points", fontsize=8, color=hue)
