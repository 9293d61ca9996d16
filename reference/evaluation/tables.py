"""Render evaluation.json as Markdown; the model card gets the same tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- evaluation:begin -->", "<!-- evaluation:end -->"

_MATTE = ("iou", "mae", "boundary_f")
_DEPTH = ("whdr_2", "whdr_5", "whdr_10", "abs_rel", "rmse", "rmse_log", "si_log", "delta_1.05", "delta_1.25", "r2")
# Photos per list of the worst.
_WORST = 8
_MORE = ("delta_1.25^2", "delta_1.25^3")
_TITLES = {
    "iou": "matte IoU",
    "mae": "matte MAE",
    "boundary_f": "boundary F",
    "whdr_2": "WHDR",
    "whdr_5": "WHDR 5 %",
    "whdr_10": "WHDR 10 %",
    "abs_rel": "AbsRel",
    "rmse": "RMSE",
    "rmse_log": "RMSE(log)",
    "si_log": "SI log",
    "delta_1.05": "δ 1.05",
    "delta_1.25": "δ 1.25",
    "delta_1.25^2": "δ 1.25²",
    "delta_1.25^3": "δ 1.25³",
    "r2": "R2",
    "background": "person/background wrong",
    "scene_whdr": "scene WHDR",
    "relief": "face points right",
    "whdr_2 of ramp": "WHDR of a ramp",
    "whdr_2 of alpha as depth": "WHDR of alpha as depth",
}


def markdown(report: Mapping[str, Any]) -> str:
    """Return the whole evaluation: each photo, baselines, means, bins, the worst."""
    parts = [f"# {report['model']}, weights `{report['weights'][:12]}`\n", tables(report)]
    for title, worst in report["worst"].items():
        figures = ", ".join(f"{_TITLES.get(k, k)} {_number(worst.get(k))}" for k in ("iou", "whdr_2", "r2"))
        parts.append(f"Worst {title} photo: `{worst['photo']}`, {figures}.\n")
    return "\n".join(parts)


def tables(report: Mapping[str, Any]) -> str:
    """Return the tables alone."""
    parts: list[str] = []
    if report["real"]:
        rows = []
        for name, figures in report["real"].items():
            rows.append([name, *_values(figures, (*_MATTE, *_DEPTH, "background"))])
            for baseline, values in figures["baselines"].items():
                rows.append([f"– {baseline}", *_values(values, (*_MATTE, *_DEPTH, "background"))])
        parts.append(_table("real photo", (*_MATTE, *_DEPTH, "background"), rows))
    if report["synthetic"]:
        whole = report["synthetic"]["all"]
        names = (*_MATTE, *_DEPTH, *_MORE, "background", "scene_whdr", "relief", *list(_TITLES)[-2:])
        rows = [[_TITLES[name], _number(whole.get(name))] for name in names]
        parts.append(_plain((f"{whole['views']} unseen synthetic views", "mean"), rows))
        shown = ("iou", "whdr_2", "whdr_2 of ramp", "background", "scene_whdr", "relief")
        rows = [
            [f"{dimension}: {name}", str(figures["views"]), *_values(figures, shown)]
            for dimension, groups in report["bins"].items()
            for name, figures in groups.items()
        ]
        if rows:
            parts.append(_plain(("bin", "views", *(_TITLES[name] for name in shown)), rows))
    if report.get("people"):
        parts += people_tables(report["people"])
    return "\n".join(parts)


def people_tables(block: Mapping[str, Any]) -> list[str]:
    """Return the tables of real people: the means, each photo with depth, the worst mattes and false persons."""
    means = block["means"]
    rows = [
        [f"depth order wrong (WHDR), mean of {means['people']} people", _number(means.get("whdr_2"))],
        ["of these, in better order than the ramp", str(means.get("better than the ramp", "–"))],
        [f"matte IoU, mean of {means['mattes']} photos", _number(means.get("iou"))],
        ["matte IoU, worst photo", _number(means.get("worst iou"))],
        [f"pixels called person in {means['empty']} photos without people, mean", _number(means.get("false person"))],
        ["the same, worst photo", _number(means.get("worst false person"))],
    ]
    parts = [_plain(("real people", ""), rows)]
    depth = [
        [name + ("" if row["sensor"] else " (a scan, not in the mean)"), *_values(row, ("whdr_2", "ramp", "r2", "iou"))]
        for name, row in block["depth"].items()
    ]
    if depth:
        parts.append(_plain(("photo with measured depth", "WHDR", "WHDR of a ramp", "R2", "matte IoU"), depth))
    worst = sorted(block["mattes"].items(), key=lambda item: float(item[1]["iou"]))[:_WORST]
    if worst:
        lines = [[name, *_values(row, _MATTE)] for name, row in worst]
        parts.append(_plain((f"worst {len(worst)} mattes", *(_TITLES[name] for name in _MATTE)), lines))
    false = sorted(block["empty"].items(), key=lambda item: -float(item[1]))[:_WORST]
    if false:
        title = f"worst {len(false)} photos without people"
        parts.append(_plain((title, "called person"), [[name, _number(share)] for name, share in false]))
    return parts


def replace_block(text: str, report: Mapping[str, Any]) -> str:
    """Return `text` with the tables between the markers. Raises ValueError if a marker is missing."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n{tables(report)}{END}{tail}"


def _values(figures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [_number(figures.get(name)) for name in names]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1) if 0 <= value < 1 else f"{value:.3f}"


def _table(first: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return _plain((first, *(_TITLES[name] for name in names)), rows)


def _plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
