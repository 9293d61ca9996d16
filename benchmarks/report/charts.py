"""Charts as inline SVG. Texts and axes take the page's own colour, so they read in the light and the dark theme.

Hues are of Okabe and Ito's palette, which colour-blind readers tell apart; every mark is labelled too.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.report import words
from hydramobile.targets import GREY, REGISTRY, target_info

Row = dict[str, Any]
# Stands for the page's text colour until the SVG is written.
INK = "#123456"
# Inches. Narrow, so that texts stay readable when a phone scales the picture to its width.
WIDTH, BAR = 4.9, 0.25
# Where a logarithmic axis shows a loss of exactly zero.
FLOOR = 1e-6
# Sizes within this factor of each other share a label in the scatter.
NEAR = 1.2


def colour(target: str) -> str:
    """Return a target's colour; the reference, which is no target, is grey."""
    return REGISTRY[target].colour if target in REGISTRY else GREY


def size_chart(rows: Sequence[Row]) -> str:
    """Bars: bytes an app ships, an artifact a bar; a tick where gzip makes it."""
    bars = [
        {
            "label": f"{row['target']} {row['recipe']}",
            "hue": colour(row["target"]),
            "value": row["ships"]["bytes"] / 1e6,
            "tick": row["ships"]["gzip"] / 1e6 if row["ships"]["gzip"] else None,
            "text": f"{row['ships']['bytes'] / 1e6:.2f}",
        }
        for row in rows
    ]
    return bar_chart(bars, "MB an app ships  ( | after gzip )")


def latency_chart(rows: Sequence[Row]) -> str:
    """Bars: median milliseconds of the primary entry, an artifact x runtime a bar; a tick at the 90th percentile."""
    bars = [
        {
            "label": f"{row['target']} {row['recipe']}, {row['runtime']}" if row["target"] else "PyTorch (reference)",
            "hue": colour(row["target"]),
            "value": row["p50_ms"],
            "tick": row["p90_ms"],
            "text": words.milliseconds(row["p50_ms"]),
        }
        for row in rows
    ]
    return bar_chart(bars, "ms a run, median  ( | 90th percentile )")


def bar_chart(bars: Sequence[Row], title: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.55 + BAR * len(bars)), layout="constrained")
    axes = figure.subplots()
    for index, bar in enumerate(bars):
        axes.barh(index, bar["value"], height=0.62, color=bar["hue"])
        if bar["tick"] is not None:
            axes.plot([bar["tick"]] * 2, [index - 0.38, index + 0.38], color=INK, linewidth=1.2)
        end = max(bar["value"], bar["tick"] or 0)
        axes.annotate(bar["text"], (end, index), xytext=(5, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(range(len(bars)), [bar["label"] for bar in bars])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.set_xlabel(title)
    axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
    return svg(figure, axes)


def trade_chart(points: Sequence[Row], output: str) -> str:
    """Scatter of one output: MB an app ships against its task loss, an artifact a point, the limits as lines."""
    from matplotlib.figure import Figure

    own = [point for point in points if point["output"] == output]
    metric = own[0]["metric"]
    name = words.metric_name(metric)
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    for point in own:
        row = target_info(point["target"])
        face = row.colour if point["state"] not in ("refused", "broken") else "none"
        place = (point["bytes"] / 1e6, max(point["loss"], FLOOR))
        axes.plot(*place, row.marker, color=row.colour, markersize=6, markerfacecolor=face, linestyle="none")
    for target in dict.fromkeys(point["target"] for point in own):
        axes.plot([], [], target_info(target).marker, color=colour(target), label=target)
    for names, points_of in columns(own):
        middle = math.exp(sum(math.log(point["bytes"] / 1e6) for point in points_of) / len(points_of))
        axes.text(middle, 1.01, ", ".join(names), ha="center", va="bottom", transform=axes.get_xaxis_transform())
        limits = [point["limit"] for point in points_of if point["limit"] is not None]
        if limits:
            span = [min(p["bytes"] for p in points_of) / 1e6 * 0.88, max(p["bytes"] for p in points_of) / 1e6 * 1.14]
            axes.plot(span, [min(limits)] * 2, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: "0" if value <= FLOOR * 1.01 else words.small(value))
    axes.set_xscale("log")
    ticks = [size for size in (0.1, 0.2, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 25, 50, 100) if fits(size, own)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.12, y=0.2)
    if any(point["loss"] <= FLOOR for point in own):
        axes.set_ylim(bottom=FLOOR / 3)
    axes.set_xlabel("MB an app ships")
    axes.set_ylabel(
        f"{output}: 1 − {name}" if metric in ("iou", "top1", "delta_1.25", "cosine") else f"{output}: {name}"
    )
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="best")
    return svg(figure, axes)


def columns(points: Sequence[Row]) -> list[tuple[list[str], list[Row]]]:
    """Points of about the same size, with the names of their recipes: they share one label."""
    found: list[tuple[list[str], list[Row]]] = []
    for point in sorted(points, key=lambda point: int(point["bytes"])):
        if not found or point["bytes"] > found[-1][1][-1]["bytes"] * NEAR:
            found.append(([], []))
        names, own = found[-1]
        own.append(point)
        if point["recipe"] not in names:
            names.append(point["recipe"])
    return found


def fits(size: float, points: Sequence[Row]) -> bool:
    sizes = [float(point["bytes"]) / 1e6 for point in points]
    return min(sizes) * 0.8 <= size <= max(sizes) * 1.25


def svg(figure: Any, axes: Any) -> str:
    """The figure as an <svg> element without ids of its own, transparent, in the page's font and colour."""
    from matplotlib import rc_context

    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_alpha(0.4)
    axes.tick_params(colors=INK, labelsize=8.5, length=0)
    for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
        text.set_color(INK)
        text.set_fontsize(8.5)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # The page's own fonts, not the list of this computer's.
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 inherit; font-family: inherit; font-size: \1", text)
    return text.replace(INK, "currentColor")
