"""What the parity evidence says, as tables: verdicts, the parity matrix, task losses, refusals, stored types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.parity.lean import left_out
from benchmarks.parity.verdict import tightest, used
from benchmarks.report import words
from benchmarks.report.gather import Evidence, Verdict
from benchmarks.runtime import REGISTRY, forced
from hydramobile.measures import MEAN, higher, worse

Row = dict[str, Any]


def verdict_rows(evidence: Evidence) -> list[Row]:
    """One row a target x recipe: where it stands and the number that decided it."""
    return [
        {
            "target": verdict.target,
            "recipe": verdict.recipe,
            "ship": verdict.ship,
            "state": verdict.state,
            "reason": verdict.reason,
            "deciding": deciding(evidence, verdict),
            "runtimes": sorted({row["runtime"] for row in evidence.judged(verdict.target, verdict.recipe)}),
            "size": evidence.size(verdict.target, verdict.recipe),
        }
        for verdict in evidence.verdicts
    ]


def deciding(evidence: Evidence, verdict: Verdict) -> Row | None:
    """The number closest to its limit (or furthest beyond it) over all entries, and all runtimes as the file ships."""
    own = as_shipped(evidence.judged(verdict.target, verdict.recipe))
    found = [(row, tightest(row["measures"])) for row in own]
    limited = [(row, measure) for row, measure in found if measure]
    if not limited:
        return None
    row, measure = max(limited, key=lambda pair: used(pair[1] or {}))
    return number_row(measure, row) if measure else None


def as_shipped(rows: Sequence[Row]) -> list[Row]:
    """Without those of arithmetic that an app would have to force."""
    return [row for row in rows if not forced(row["runtime"])]


def number_row(measure: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    own = {key: row[key] for key in ("entry", "mode", "runtime", "evidence")}
    rising = higher(measure["metric"])
    return {
        **own,
        "output": measure["output"],
        "metric": words.metric_name(measure["metric"]),
        "value": words.number(measure["metric"], measure["value"]),
        "mean": words.number(measure["metric"], measure["mean"]),
        "limit": words.limit(dict(measure), rising) if measure["limit"] is not None else "",
        "used": used(measure) if measure["limit"] is not None else None,
        "worst": "–" if measure["value"] == words.perfect(measure["metric"]) else measure["worst"],
    }


def matrix(evidence: Evidence) -> Row:
    """Rows: artifact x runtime x variant. Columns: entry x mode. A cell: the share of its tightest limit used up, the
    measure, and the tolerance that would have passed (its value)."""
    modes = ("direct", "boundary", "chain", "open", "run")
    # What was left out stands under "Not done".
    shown = [row for row in evidence.parity if row["entry"] and row["mode"] in modes and not left_out(row)]
    names = list(evidence.spec.entries)
    columns = sorted(
        {(row["entry"].partition("@")[0], row["mode"]) for row in shown if row["measures"]},
        key=lambda pair: (names.index(pair[0]) if pair[0] in names else len(names), pair[1] == "chain"),
    )
    lines: dict[tuple[str, str, str, str], Row] = {}
    for row in shown:
        entry, _, variant = row["entry"].partition("@")
        key = (row["target"], row["recipe"], row["runtime"], variant)
        blank = {"evidence": row["evidence"], "stale": row["stale"], "samples": row["samples"], "cells": {}}
        line = lines.setdefault(key, blank)
        line["cells"] |= {column: cell(row) for column in columns if matches(column, entry, row)}
    heads = [{"entry": entry, "mode": mode, "means": words.MODES[mode]} for entry, mode in columns]
    order = list(REGISTRY)
    pairs = [(verdict.target, verdict.recipe) for verdict in evidence.verdicts]
    body = [
        {"target": key[0], "recipe": key[1], "runtime": key[2], "variant": key[3], **line}
        for key, line in sorted(
            lines.items(), key=lambda item: (pairs.index(item[0][:2]), order.index(item[0][2]), item[0][3])
        )
    ]
    for line in body:
        line["cells"] = [line["cells"].get(column) for column in columns]
    return {"heads": heads, "rows": body}


def matches(column: tuple[str, str], entry: str, row: Mapping[str, Any]) -> bool:
    """A row that failed before it had a mode stands in every column of its entry."""
    return column[0] == entry and (row["mode"] == column[1] or not row["measures"])


def cell(row: Row) -> Row:
    measure = tightest(row["measures"])
    own = {"verdict": row["verdict"], "reason": row["reason"], "number": None}
    return {**own, "number": number_row(measure, row)} if measure else own


def loss_rows(evidence: Evidence) -> list[Row]:
    """One row a target x recipe x runtime x judged output: each task metric, worst with its sample, and mean."""
    rows = []
    for verdict in evidence.verdicts:
        for row in whole(evidence, evidence.judged(verdict.target, verdict.recipe)):
            for tensor in evidence.spec.judged():
                own = [m for m in row["measures"] if m["output"] == tensor.name]
                named = {m["metric"]: number_row(m, row) for m in own}
                numbers = [named[metric] for metric in words.TASK[tensor.judge or ""] if metric in named]
                if numbers:
                    rows.append({**identity(row), "state": verdict.state, "output": tensor.name, "numbers": numbers})
        for row in against_labels(evidence, verdict.target, verdict.recipe):
            own = [m for m in row["measures"] if not m["metric"].startswith(MEAN)]
            about = f"{own[0]['output']}, {words.MODES['labels']}"
            numbers = [number_row(measure, row) for measure in own]
            rows.append({**identity(row), "state": verdict.state, "output": about, "numbers": numbers})
    return rows


def against_labels(evidence: Evidence, target: str, recipe: str) -> list[Row]:
    """What was measured on all of the model's labels, by runtime."""
    own = [row for row in evidence.judged(target, recipe) if row["mode"] == "labels"]
    return [row for row in own if row["samples"] == row["facts"]["labels"]]


def label_loss(evidence: Evidence, target: str, recipe: str) -> Row | None:
    """The worst over all runtimes of what an artifact loses against labels, and both nets' own figures."""
    found = None
    for row in against_labels(evidence, target, recipe):
        for measure in row["measures"]:
            metric = measure["metric"]
            if not metric.startswith(MEAN) and (found is None or worse(metric, measure["mean"], found["mean"])):
                found = {**measure, **row["facts"], "runtime": row["runtime"], "evidence": row["evidence"]}
    return found


def identity(row: Mapping[str, Any]) -> Row:
    return {key: row[key] for key in ("target", "recipe", "runtime", "evidence", "entry", "mode")}


def whole(evidence: Evidence, rows: Sequence[Row]) -> list[Row]:
    """For each runtime and judged output the row an app would see: of the entry that makes it from the model's own
    inputs in one call, else of the module chained on exported features. A row that makes several stands once."""
    outputs = [tensor.name for tensor in evidence.spec.judged()]
    chosen: dict[tuple[str, str], Row] = {}
    for row in rows:
        if "@" in row["entry"] or row["mode"] in ("boundary", "labels", "against"):
            continue
        for output in outputs:
            if any(measure["output"] == output for measure in row["measures"]):
                known = chosen.get((row["runtime"], output))
                if known is None or (row["mode"] == "direct" and known["mode"] != "direct"):
                    chosen[row["runtime"], output] = row
    unique = {(row["runtime"], row["entry"], row["mode"]): row for row in chosen.values()}
    return list(unique.values())


def losses(evidence: Evidence, target: str, recipe: str) -> dict[str, Row]:
    """output -> the worst value over all runtimes of the metric its judge is summed up by, as in parity.json."""
    found: dict[str, Row] = {}
    for row in whole(evidence, as_shipped(evidence.judged(target, recipe))):
        for tensor in evidence.spec.judged():
            metric = words.TASK[tensor.judge or ""][0]
            for measure in row["measures"]:
                if (measure["output"], measure["metric"]) == (tensor.name, metric):
                    known = found.get(tensor.name)
                    if known is None or worse(metric, measure["value"], known["value"]):
                        about = {"runtime": row["runtime"], "evidence": row["evidence"], "entry": row["entry"]}
                        found[tensor.name] = {**measure, **about}
    return found


def refusals(evidence: Evidence) -> list[Row]:
    """Candidates that are not shipped, and what ships but not where an app forces another arithmetic, with every limit
    that was broken."""
    rows = []
    for verdict in evidence.verdicts:
        if verdict.state not in ("refused", "broken") and not (verdict.state in ("ships", "passes") and verdict.reason):
            continue
        broken = broken_limits(evidence.judged(verdict.target, verdict.recipe))
        size = evidence.size(verdict.target, verdict.recipe)
        own = {"target": verdict.target, "recipe": verdict.recipe, "state": verdict.state, "reason": verdict.reason}
        own["artifact"] = f"{verdict.target}/{verdict.recipe}"
        rows.append({**own, "broken": broken, "size": size, "bisect": bisected(evidence, verdict)})
    return rows


def bisected(evidence: Evidence, verdict: Verdict) -> Row | None:
    """The row that names the first layer where the artifact leaves its float32 twin, where parity looked for it."""
    own = [row for row in evidence.parity if (row["target"], row["recipe"]) == (verdict.target, verdict.recipe)]
    found = (row for row in own if row["mode"] == "bisect" and row["verdict"] == "pass" and not row["stale"])
    return next(found, None)


def broken_limits(rows: Sequence[Row]) -> list[Row]:
    """The worst number of each output and metric over a limit, worst first, with how many comparisons broke it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for measure in row["measures"]:
            if not measure["passed"]:
                found.setdefault((measure["output"], measure["metric"]), []).append(number_row(measure, row))
    worst = [{**max(own, key=lambda item: float(item["used"])), "count": len(own)} for own in found.values()]
    return sorted(worst, key=lambda item: -item["used"])


def unavailable(evidence: Evidence) -> list[Row]:
    """What could not be done here, and why: runtimes, exports, timings."""
    rows: list[Row] = []
    for row in evidence.parity:
        if row["verdict"] in ("unavailable", "failed"):
            about = " ".join(filter(None, (row["runtime"], row["entry"], row["mode"])))
            rows.append(note(row, f"judge in {about}" if about else "judge", row["verdict"], row))
    for row in evidence.latencies:
        if row["verdict"] in ("unavailable", "untimed", "failed"):
            state = "not timed" if row["verdict"] == "untimed" else row["verdict"]
            rows.append(note(row, f"time in {row['runtime']}", state, row))
    rows += [note(row, "weigh", row["verdict"], row) for row in evidence.sizes if row["reason"]]
    for name, outcome in evidence.exports.items():
        if outcome["state"] in ("failed", "unavailable", "not supported"):
            rows.append({**note(outcome, "export", outcome["state"], outcome), "artifacts": [name]})
    grouped: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = (row["what"], row["state"], row["reason"])
        grouped.setdefault(key, {**row, "artifacts": []})["artifacts"] += row["artifacts"]
    return [{**row, "artifacts": list(dict.fromkeys(row["artifacts"]))} for row in grouped.values()]


def note(row: Mapping[str, Any], what: str, state: str, source: Mapping[str, Any]) -> Row:
    reason = ": ".join(filter(None, (source.get("stage", ""), source["reason"])))
    name = f"{row['target']}/{row['recipe']}" if row["target"] else "the reference"
    return {"what": what, "state": state, "reason": reason, "artifacts": [name]}


def stored_types(evidence: Evidence) -> list[Row]:
    """Bytes of weights by the storage type read back from the file, an entry a row, where parity checked them."""
    rows = [row for row in evidence.parity if row["mode"] == "dtypes" and not row["stale"]]
    return [
        {
            **identity(row),
            "verdict": row["verdict"],
            "reason": row["reason"],
            "types": row["facts"].get("weight_bytes", {}),
        }
        for row in rows
    ]
