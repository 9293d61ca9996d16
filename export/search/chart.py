"""Draw every trial of a search: bytes against the loss of the worst sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.search.builds import Build
from export.search.trial import Trial
from hydramobile.targets import GREY, KNOWN, target_info

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# (target, build) -> its time over float32's.
Ratios = Mapping[tuple[str, str], float]
NO_LATENCY = "grey: no build's latency was measured (python -m benchmarks latency)"
LATENCY = "time over float32's, same target, this computer's CPU (host); grey: not measured"


def write_chart(path: Path, trials: Sequence[Trial], builds: Sequence[Build], ratios: Ratios) -> None:
    """Write a chart with one panel per output. Chosen builds are named; size and loss limits are lines.

    `ratios` gives a chosen build its colour; it is grey where its latency was not measured.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    outputs = list(dict.fromkeys(name for trial in trials for name in trial.losses))
    figure = Figure(figsize=(7.2, 3.6 * len(outputs)), layout="constrained")
    far = max((abs(ratio - 1) for ratio in ratios.values()), default=0.0)
    speed: Any = ScalarMappable(TwoSlopeNorm(1.0, 1 - max(far, 0.05), 1 + max(far, 0.05)), "coolwarm")

    def colour(ratio: float | None) -> Any:
        return GREY if ratio is None else speed.to_rgba(ratio)

    panels = [figure.add_subplot(len(outputs), 1, index + 1) for index in range(len(outputs))]
    for axes, output in zip(panels, outputs, strict=True):
        for target in dict.fromkeys(trial.target for trial in trials):
            own = [trial for trial in trials if trial.target == target and output in trial.losses]
            draw_trials(axes, target, output, own)
            draw_chosen(axes, output, [trial for trial in own if trial.chosen], ratios, colour)
        draw_limits(axes, builds)
        axes.set(yscale="log", xlabel="MB an app ships", ylabel=f"{output}: worst sample's loss, %")
        axes.margins(x=0.1)
    # Outside the panels: inside, the legend would hide trials.
    handles, names = panels[0].get_legend_handles_labels()
    title = "dashed: size limit, dotted: loss limit"
    figure.legend(
        handles, names, loc="outside upper center", ncols=len(names), fontsize=8, title=title, title_fontsize=7
    )
    if ratios:
        figure.colorbar(speed, ax=panels, label=LATENCY)
    else:
        figure.supxlabel(NO_LATENCY, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=150, metadata={"Software": None})
    temporary.replace(path)


def draw_limits(axes: Axes, builds: Sequence[Build]) -> None:
    """Draw each build's limit of the worst loss, and its size limit for each target."""
    for build in builds:
        axes.axhline(100 * build.worst, color=GREY, linewidth=0.8, linestyle=":")
        for target, limit in build.sizes.items():
            axes.axvline(limit / 1e6, color=target_info(target).colour, linewidth=0.8, linestyle="--")


def draw_trials(axes: Axes, target: str, output: str, trials: Sequence[Trial]) -> None:
    """Draw the trials of a target that were not chosen, and the target's row in the legend."""
    colour, marker = target_info(target).colour, target_info(target).marker
    points = [point(trial, output) for trial in trials if not trial.chosen]
    axes.scatter([x for x, _ in points], [y for _, y in points], s=14, marker=marker, color=colour, alpha=0.35)
    # The legend has a target's marker and colour, whatever the colour of its chosen builds.
    axes.scatter([], [], s=40, marker=marker, facecolor="white", edgecolor=colour, linewidth=1.2, label=target)


def draw_chosen(
    axes: Axes, output: str, trials: Sequence[Trial], ratios: Ratios, colour: Callable[[float | None], Any]
) -> None:
    """Draw the chosen trials of one target with their names, in the colour of their latency ratio."""
    for trial in trials:
        (x, y), ratio = point(trial, output), ratios.get((trial.target, trial.build))
        edge, marker = target_info(trial.target).colour, target_info(trial.target).marker
        axes.scatter([x], [y], s=64, marker=marker, color=[colour(ratio)], edgecolor=edge, linewidth=1.2, zorder=3)
        text = trial.build if ratio is None else f"{trial.build} {ratio:.2f}x"
        # Builds of several targets often have the same loss: each target writes at a height of its own.
        height = 6 + 9 * (sorted(KNOWN).index(trial.target) % 3)
        axes.annotate(text, (x, y), xytext=(4, height), textcoords="offset points", fontsize=8, color=edge)


def point(trial: Trial, output: str) -> tuple[float, float]:
    """Return a trial's MB and its worst loss in percent; the loss at least .001 %, which a log axis can show."""
    return trial.bytes / 1e6, 100 * max(trial.losses[output].worst, 1e-5)
