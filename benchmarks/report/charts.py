"""Charts as inline SVG. Text and axes have the page's text colour, so that they fit the light and the dark theme.

Hues are from the palette of Okabe and Ito, which colour-blind readers can distinguish. Every mark also has a label.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.evidence.size import SizeRow
from benchmarks.report import words
from benchmarks.report.measured import LatencyLine, TradePoint
from hydramobile.targets import GREY, REGISTRY, target_info

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A placeholder for the page's text colour; `svg` replaces it.
INK = "#123456"
# Inches. Narrow, so that text stays readable when a phone scales the picture to its width.
WIDTH, BAR = 4.9, 0.25
# The position of a loss of exactly zero on a logarithmic axis.
FLOOR = 1e-6
# Sizes within this factor of each other share a label in the scatter.
NEAR = 1.2


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, with an optional tick at another value of the same axis."""

    label: str
    hue: str
    value: float
    tick: float | None
    text: str


@dataclass(slots=True)
class Group:
    """Points of about the same size, which share one label: the names of their recipes."""

    names: list[str]
    points: list[TradePoint]


def colour(target: str) -> str:
    """Return the colour of a target; grey for the reference, which has no target."""
    return REGISTRY[target].colour if target in REGISTRY else GREY


def size_chart(rows: Sequence[SizeRow]) -> str:
    """Draw the bytes that an app ships, one bar per artifact, with a tick at the bytes after gzip."""
    bars = [
        Bar(
            label=f"{row.target} {row.recipe}",
            hue=colour(row.target),
            value=row.ships.bytes / 1e6,
            tick=row.ships.gzip / 1e6 if row.ships.gzip else None,
            text=f"{row.ships.bytes / 1e6:.2f}",
        )
        for row in rows
    ]
    return bar_chart(bars, "MB an app ships  ( | after gzip )")


def latency_chart(lines: Sequence[LatencyLine]) -> str:
    """Draw median milliseconds of primary entries, one bar per artifact x runtime; a tick at the 90th percentile."""
    bars = [
        Bar(
            label=f"{line.row.target} {line.row.recipe}, {line.row.runtime}"
            if line.row.target
            else "PyTorch (reference)",
            hue=colour(line.row.target),
            value=line.main.p50_ms,
            tick=line.main.p90_ms,
            text=words.milliseconds(line.main.p50_ms),
        )
        for line in lines
    ]
    return bar_chart(bars, "ms a run, median  ( | 90th percentile )")


def bar_chart(bars: Sequence[Bar], title: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.55 + BAR * len(bars)), layout="constrained")
    axes = figure.subplots()
    for index, bar in enumerate(bars):
        axes.barh(index, bar.value, height=0.62, color=bar.hue)
        if bar.tick is not None:
            axes.plot([bar.tick] * 2, [index - 0.38, index + 0.38], color=INK, linewidth=1.2)
        end = max(bar.value, bar.tick or 0)
        axes.annotate(bar.text, (end, index), xytext=(5, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.set_xlabel(title)
    axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
    return svg(figure, axes)


def trade_chart(points: Sequence[TradePoint], output: str) -> str:
    """Draw MB that an app ships against the task loss of one output: one point per artifact, limits as lines."""
    from matplotlib.figure import Figure

    shown = [point for point in points if point.output == output]
    metric = shown[0].metric
    name = words.metric_name(metric)
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    for point in shown:
        target = target_info(point.target)
        face = target.colour if point.state not in ("refused", "broken") else "none"
        x, y = point.bytes / 1e6, max(point.loss, FLOOR)
        axes.plot(x, y, target.marker, color=target.colour, markersize=6, markerfacecolor=face, linestyle="none")
    for target_name in dict.fromkeys(point.target for point in shown):
        target = target_info(target_name)
        axes.plot([], [], target.marker, color=target.colour, label=target_name)
    for group in groups(shown):
        draw_group(axes, group)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: "0" if value <= FLOOR * 1.01 else words.small(value))
    axes.set_xscale("log")
    ticks = [size for size in (0.1, 0.2, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 25, 50, 100) if fits(size, shown)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.12, y=0.2)
    if any(point.loss <= FLOOR for point in shown):
        axes.set_ylim(bottom=FLOOR / 3)
    axes.set_xlabel("MB an app ships")
    axes.set_ylabel(
        f"{output}: 1 − {name}" if metric in ("iou", "top1", "delta_1.25", "cosine") else f"{output}: {name}"
    )
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="best")
    return svg(figure, axes)


def draw_group(axes: Axes, group: Group) -> None:
    """Label a group of points above the axes, and draw their tightest limit."""
    sizes = [point.bytes / 1e6 for point in group.points]
    middle = math.exp(sum(map(math.log, sizes)) / len(sizes))
    label = ", ".join(group.names)
    axes.text(middle, 1.01, label, ha="center", va="bottom", transform=axes.get_xaxis_transform())
    limits = [point.limit for point in group.points if point.limit is not None]
    if limits:
        span = [min(sizes) * 0.88, max(sizes) * 1.14]
        axes.plot(span, [min(limits)] * 2, color=INK, linewidth=1, linestyle=(0, (4, 2)))


def groups(points: Sequence[TradePoint]) -> list[Group]:
    """Group points of about the same size, the smallest first."""
    result: list[Group] = []
    for point in sorted(points, key=lambda point: point.bytes):
        if not result or point.bytes > result[-1].points[-1].bytes * NEAR:
            result.append(Group([], []))
        group = result[-1]
        group.points.append(point)
        if point.recipe not in group.names:
            group.names.append(point.recipe)
    return result


def fits(size: float, points: Sequence[TradePoint]) -> bool:
    sizes = [point.bytes / 1e6 for point in points]
    return min(sizes) * 0.8 <= size <= max(sizes) * 1.25


def svg(figure: Figure, axes: Axes) -> str:
    """Return the figure as a transparent <svg> element in the page's font and text colour."""
    from matplotlib import rc_context

    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_alpha(0.4)
    axes.tick_params(colors=INK, labelsize=8.5, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
        label.set_color(INK)
        label.set_fontsize(8.5)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # Inherit the font of the page instead of the fonts that matplotlib lists.
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 inherit; font-family: inherit; font-size: \1", text)
    return text.replace(INK, "currentColor")
