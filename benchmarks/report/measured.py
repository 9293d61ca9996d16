"""What the size and latency evidence says, as tables: bytes, times, and what running a head alone is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.grid.run import summarize
from benchmarks.report.gather import Evidence
from hydramobile.measures import higher

Row = dict[str, Any]
FRAMES = 30
# A user waits this long for the first result of a page or app before it feels broken.
FIRST_RESULT = 1.0
# Re-running a head on cached features must be well below running everything again.
RERUN = 0.25
# Kernels of a profile that are shown.
SHOWN = 5


def size_rows(evidence: Evidence) -> list[Row]:
    rows = []
    for verdict in evidence.verdicts:
        row = evidence.size(verdict.target, verdict.recipe)
        if row:
            weights: dict[str, int] = {}
            for entry in row["entries"]:
                if not entry["variant"] and len(entry["modules"]) == 1:
                    for kind, count in entry["weights"].items():
                        weights[kind] = weights.get(kind, 0) + count
            rows.append({**row, "state": verdict.state, "weights": weights})
    return rows


def timed(evidence: Evidence) -> list[Row]:
    """Latency rows of this computer with numbers, the reference first. Devices stand apart: unlike machines do not
    mix."""
    rows = [row for row in evidence.latencies if row["verdict"] == "measured" and not row.get("device")]
    return sorted(rows, key=lambda row: (bool(row["target"]), row["target"], row["recipe"], row["runtime"]))


def latency_rows(evidence: Evidence) -> list[Row]:
    """One row a timed artifact x runtime, about its primary entry: what an app would call."""
    rows = []
    for row in timed(evidence):
        main = next(entry for entry in row["entries"] if entry["entry"] == row["primary"])
        cold = row["cold"]["load_s"] + row["cold"]["first_s"]
        warm = main["load_s"] + main["first_s"]
        rate = 1e3 / main["p50_ms"] if main["p50_ms"] else 0.0
        rows.append(
            {
                **{key: row[key] for key in ("target", "recipe", "runtime", "evidence", "stale", "threads")},
                **{key: main[key] for key in ("p50_ms", "p90_ms", "p99_ms", "min_ms", "spread", "runs", "entry")},
                "load_ms": main["load_s"] * 1e3,
                "first_ms": main["first_s"] * 1e3,
                "cold_ms": cold * 1e3,
                "start_ms": warm * 1e3,
                "start_good": cold <= FIRST_RESULT,
                "frames": rate,
                "frames_good": rate >= FRAMES,
                "stable": main["warm_up"]["stable"],
                "memory": row["memory"]["peak"],
                "own_memory": row["memory"]["peak"] - row["memory"]["baseline"],
                "load": row["load"],
                "reference": ratio(row, "reference"),
            }
        )
    return rows


def ratio(row: Mapping[str, Any], kind: str) -> Row | None:
    return next((item for item in row["ratios"] if item["kind"] == kind), None)


def rerun_rows(evidence: Evidence) -> list[Row]:
    """One row a timed artifact x runtime x entry: milliseconds, share of the fused run, bytes. Heads carry whether
    their re-run is within `RERUN`."""
    rows = []
    for row in timed(evidence):
        if len(row["entries"]) < 2:
            continue
        shares = {item["entry"]: item for item in row["ratios"] if item["kind"] in ("encoder", "rerun")}
        size = evidence.size(row["target"], row["recipe"]) if row["target"] else None
        weights = {entry["entry"]: entry["weight_bytes"] for entry in size["entries"]} if size else {}
        for entry in row["entries"]:
            share = shares.get(entry["entry"])
            rows.append(
                {
                    **{key: row[key] for key in ("target", "recipe", "runtime", "evidence", "stale")},
                    "entry": entry["entry"],
                    "kind": share["kind"] if share else "fused",
                    "p50_ms": entry["p50_ms"],
                    "share": share,
                    "good": share["value"] <= RERUN if share and share["kind"] == "rerun" else None,
                    "weight_bytes": weights.get(entry["entry"]),
                    "first": entry is row["entries"][0],
                    "span": len(row["entries"]),
                }
            )
    return rows


def grid_rows(evidence: Evidence) -> list[Row]:
    """One row an artifact x runtime about its primary entry, from interleaved processes; stale ones left out."""
    fresh = {"results": [row for row in evidence.grids if not row["stale"]]}
    names = {entry.name: len(entry.modules) for entry in evidence.spec.entries.values()}
    most = max(names.values())
    return [row for row in summarize(fresh) if names.get(row["entry"]) == most]


# What a device, or a tool on it, does not tell.
UNTOLD = {"manufacturer": "", "model": "", "soc": "", "android": "", "os": ""}
UNTIMED = {"p50_ms": None, "p95_ms": None, "first_ms": None, "init_ms": None, "peak_memory": None}


def device_rows(evidence: Evidence) -> list[Row]:
    """The rows of device.json with every field that a table shows, empty where the device did not tell it."""
    rows = []
    for row in evidence.devices:
        found = [
            {
                **item,
                **{side: {"thermal_status": None, **item[side]} for side in ("before", "after")},
                "entries": [{**UNTIMED, **entry} for entry in item["entries"]],
            }
            for item in row["configurations"]
        ]
        rows.append({**row, "device": {**UNTOLD, **row["device"]}, "configurations": found})
    return rows


def placement_rows(evidence: Evidence) -> list[Row]:
    """One row an artifact, runtime and entry whose placement a runtime told: pieces on an accelerator, operators on it
    and beside it."""
    rows = []
    for row in evidence.parity:
        if row["mode"] == "environment" and not row["stale"]:
            own = {key: row[key] for key in ("target", "recipe", "runtime", "evidence")}
            for entry, found in row["facts"].get("placement", {}).items():
                rows.append({**own, "entry": entry, **found})
    return rows


def profile_rows(evidence: Evidence) -> list[Row]:
    """One row a profiled artifact x runtime with the `SHOWN` most expensive kernels of its primary entry."""
    rows = []
    for row in evidence.profiles:
        if row["verdict"] == "measured" and not row["stale"]:
            main = max(row["entries"], key=lambda entry: len(entry["modules"]))
            kinds = main["kinds"][:SHOWN]
            rest = 1 - sum(kind["share"] for kind in kinds)
            own = {key: row[key] for key in ("target", "recipe", "runtime", "evidence")}
            rows.append({**own, "entry": main["entry"], "ms": main["ms"], "kinds": kinds, "rest": max(rest, 0.0)})
    return rows


def size_against_loss(evidence: Evidence, losses: Mapping[tuple[str, str], Mapping[str, Row]]) -> list[Row]:
    """Points of the chart: bytes an app ships and the worst task loss, an artifact x output. Loss: lower is better."""
    points = []
    for verdict in evidence.verdicts:
        size = evidence.size(verdict.target, verdict.recipe)
        for output, measure in losses.get((verdict.target, verdict.recipe), {}).items():
            if size:
                rising = higher(measure["metric"])
                loss = 1 - measure["value"] if rising else measure["value"]
                limit = None if measure["limit"] is None else 1 - measure["limit"] if rising else measure["limit"]
                own = {"target": verdict.target, "recipe": verdict.recipe, "state": verdict.state, "output": output}
                about = {"metric": measure["metric"], "loss": loss, "limit": limit, "bytes": size["ships"]["bytes"]}
                points.append({**own, **about, "evidence": measure["evidence"]})
    return points


def browser_rows(evidence: Evidence) -> list[Row]:
    """One row an artifact timed in a browser, of this computer or of a device that opened the page: the engine's
    start, first and later runs, the heads, and what a first visit downloads. This computer's come first."""
    timed_ones = [row for row in evidence.latencies if row["verdict"] == "measured"]
    rows = [row for row in timed_ones if "user_agent" in row.get("environment", {})]
    found = []
    for row in sorted(rows, key=lambda row: (row.get("device", {}).get("name", ""), row["runtime"], row["target"])):
        main = next(entry for entry in row["entries"] if entry["entry"] == row["primary"])
        heads = [item["value"] for item in row["ratios"] if item["kind"] == "rerun"]
        size, facts = evidence.size(row["target"], row["recipe"]), row["environment"]
        model = size["ships"]["gzip"] if size and not size["stale"] else None
        found.append(
            {
                **{key: row[key] for key in ("target", "recipe", "runtime", "evidence", "stale")},
                "where": row.get("device", {}).get("name", "this computer"),
                "insecure": not facts["secure"],
                "hidden": facts.get("hidden", False),
                "backend": facts["backend"],
                "threads": facts["threads"],
                "cold_ms": (row["cold"]["load_s"] + row["cold"]["first_s"]) * 1e3,
                "first_ms": main["first_s"] * 1e3,
                "p50_ms": main["p50_ms"],
                "stable": main["warm_up"]["stable"],
                "heads": (min(heads), max(heads)) if heads else None,
                "runtime_gzip": facts["runtime"]["gzip"],
                "model_gzip": model,
                "visit_gzip": facts["runtime"]["gzip"] + model if model else None,
            }
        )
    return found


def browsers(evidence: Evidence) -> list[Row]:
    """What each browser that ran something offers, once each, from the parity and the latency rows."""
    parity = [(row, row["facts"]) for row in evidence.parity if "user_agent" in row["facts"]]
    latency = [(r, r["environment"]) for r in evidence.latencies if "user_agent" in r.get("environment", {})]
    found: dict[tuple[str, str, str], Row] = {}
    for row, facts in [*parity, *latency]:
        name = row.get("device", {}).get("name", "this computer")
        adapter = facts["adapter"] or {}
        known = found.setdefault(
            (name, facts["user_agent"], str(adapter.get("name"))),
            {
                **{key: facts[key] for key in ("user_agent", "isolated", "secure", "cores", "wasm", "webgl")},
                "where": name,
                "evidence": row["evidence"],
                "adapter": adapter.get("name"),
                "runtimes": [],
            },
        )
        if row["runtime"] not in known["runtimes"]:
            known["runtimes"].append(row["runtime"])
    return list(found.values())
