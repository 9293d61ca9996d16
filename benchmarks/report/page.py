"""Everything the templates show, in one mapping: tables, charts, pictures, and what to say where one is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.report import charts, judged, measured, words
from benchmarks.report.calibration import calibration_cells, calibration_rows
from benchmarks.report.gather import Evidence
from benchmarks.report.strongest import strongest_rows
from hydramobile.measures import higher, worse

Row = dict[str, Any]
GOOD = ("ships", "passes")


def page_context(evidence: Evidence, made: Mapping[str, Any]) -> Row:
    """`made` holds what had to be run for the report: overview, pictures, notes, pixels."""
    losses = {(v.target, v.recipe): judged.losses(evidence, v.target, v.recipe) for v in evidence.verdicts}
    sizes, latencies = measured.size_rows(evidence), measured.latency_rows(evidence)
    reruns, points = measured.rerun_rows(evidence), measured.size_against_loss(evidence, losses)
    outputs = list(dict.fromkeys(point["output"] for point in points))
    return {
        "spec": evidence.spec,
        "verdicts": judged.verdict_rows(evidence),
        "headline": headline(evidence),
        "cards": cards(evidence, losses, sizes, reruns),
        "matrix": judged.matrix(evidence),
        "losses": judged.loss_rows(evidence),
        "calibrations": calibration_cells(calibration_rows(evidence)),
        "refusals": judged.refusals(evidence),
        "unavailable": judged.unavailable(evidence),
        "stored_types": judged.stored_types(evidence),
        "sizes": sizes,
        "latencies": latencies,
        "reruns": reruns,
        "web": measured.browser_rows(evidence),
        "browsers": measured.browsers(evidence),
        "grid": measured.grid_rows(evidence),
        "grid_about": evidence.documents.get("grid", {}),
        "profiles": measured.profile_rows(evidence),
        "costs": {**evidence.documents.get("cost", {}), "results": evidence.costs},
        "strongest": strongest_rows(evidence),
        "devices": measured.device_rows(evidence),
        "placements": measured.placement_rows(evidence),
        "instructions": [row for row in evidence.instructions if row["entries"]],
        "size_chart": chart(charts.size_chart, [row for row in sizes if not row["stale"]]),
        "latency_chart": chart(charts.latency_chart, [row for row in latencies if not row["stale"]]),
        "trade_charts": [charts.trade_chart(points, output) for output in outputs],
        "trade": points,
        "provenance": provenance(evidence),
        "missing": evidence.missing,
        "stale": stale(evidence),
        "words": words,
        **made,
    }


def chart(draw: Callable[[Sequence[Row]], str], rows: Sequence[Row]) -> str | None:
    return draw(rows) if rows else None


def headline(evidence: Evidence) -> Row:
    """How it all stands, in a sentence."""
    states = [verdict.state for verdict in evidence.verdicts]
    good, refused = sum(state in GOOD for state in states), states.count("refused")
    bad = [verdict for verdict in evidence.verdicts if verdict.state in ("broken", "failed")]
    waiting = [v for v in evidence.verdicts if v.state in ("unjudged", "stale") or (v.state == "missing" and v.ship)]
    compute = "computes" if good == 1 else "compute"
    text = f"{good} of {len(states)} artifacts {compute} what the PyTorch reference computes, within every limit."
    if refused:
        text += f" {refused} candidate{'s were' if refused > 1 else ' was'} refused."
    if bad:
        text += f" {len(bad)} {'are' if len(bad) > 1 else 'is'} broken or failed."
    if waiting:
        text += f" {len(waiting)} {'are' if len(waiting) > 1 else 'is'} not judged."
    return {"text": text, "tone": "bad" if bad else "warn" if waiting or not good else "good"}


def cards(
    evidence: Evidence, losses: Mapping[tuple[str, str], Mapping[str, Row]], sizes: Sequence[Row], reruns: Sequence[Row]
) -> list[Row]:
    """The few figures a reader wants first, over the artifacts that stand."""
    standing = [(v.target, v.recipe) for v in evidence.verdicts if v.state in GOOD]
    found: list[Row] = []
    for tensor in evidence.spec.judged():
        own = [(pair, losses[pair][tensor.name]) for pair in standing if tensor.name in losses[pair]]
        if own:
            pair, measure = own[0]
            for other, candidate in own:
                if worse(candidate["metric"], candidate["value"], measure["value"]):
                    pair, measure = other, candidate
            name = words.metric_name(measure["metric"])
            perfect = measure["value"] == words.perfect(measure["metric"])
            about = "no loss in any of them" if perfect else f"{'/'.join(pair)} on {measure['worst']}"
            value = words.number(measure["metric"], measure["value"])
            found.append(card(f"{tensor.name}: worst {name} of what stands", value, about, measure["evidence"]))
    weighed = [row for row in sizes if (row["target"], row["recipe"]) in standing]
    if weighed:
        least = min(weighed, key=lambda row: int(row["ships"]["bytes"]))
        name = f"{least['target']}/{least['recipe']}, all modules"
        found.append(card("smallest that stands", words.megabytes(least["ships"]["bytes"]), name, "static"))
    heads = [row for row in reruns if row["kind"] == "rerun" and row["target"]]
    if heads:
        shares = [row["share"]["value"] for row in heads]
        text = f"{min(shares) * 100:.0f} – {max(shares) * 100:.0f} %"
        found.append(card("a head run again, of a whole run", text, "on cached features", heads[0]["evidence"]))
    return found


def card(title: str, value: str, about: str, evidence: str) -> Row:
    return {"title": title, "value": value, "about": about, "evidence": evidence}


def stale(evidence: Evidence) -> list[str]:
    """Artifacts with evidence that belongs to an earlier export, a line each."""
    found: dict[str, list[str]] = {}
    for kind, rows in (
        ("parity", evidence.parity),
        ("size", evidence.sizes),
        ("latency", evidence.latencies),
        ("grid", evidence.grids),
        ("profile", evidence.profiles),
        ("cost", evidence.costs),
        ("device", evidence.devices),
        ("instructions", evidence.instructions),
    ):
        for row in rows:
            if row["stale"]:
                kinds = found.setdefault(f"{row['target']}/{row['recipe']}", [])
                kinds += [kind] if kind not in kinds else []
    return [f"{name}: {', '.join(kinds)}" for name, kinds in found.items()]


def provenance(evidence: Evidence) -> Row:
    """Hashes, versions, machine, samples, limits: what a reader needs to make the same numbers again."""
    latency, parity = evidence.documents.get("latency", {}), evidence.documents.get("parity", {})
    runtimes: dict[str, str] = {}
    for row in (*evidence.parity, *evidence.latencies):
        runtimes |= row.get("runtime_version", {})
    toolchain: dict[str, str] = {}
    for artifact in evidence.artifacts.values():
        toolchain |= artifact.toolchain
    loads = [row["load"] for row in evidence.latencies if row.get("load")]
    return {
        "artifacts": [
            {"name": "/".join(pair), "sha256": a.sha256, "requires": dict(a.requires), "notes": a.notes}
            for pair, a in evidence.artifacts.items()
        ],
        "spec_sha256": evidence.spec.sha256,
        "weights_sha256": evidence.spec.weights_sha256,
        "runtimes": runtimes,
        "toolchain": toolchain,
        "machine": latency.get("machine") or parity.get("machine"),
        "loads": (min(r["before"] for r in loads), max(r["after"] for r in loads)) if loads else None,
        "latency_notes": latency.get("notes", []),
        "samples": [sample for sample in evidence.samples if not parity or sample.name in parity.get("samples", ())],
        "samples_judged": len(parity.get("samples", [])),
        "samples_asked": parity.get("samples_asked", 0),
        "limits": limits(evidence),
        "goals": {"frames": measured.FRAMES, "first": measured.FIRST_RESULT, "rerun": measured.RERUN},
    }


def limits(evidence: Evidence) -> list[Row]:
    """Every limit of the budget with its reason; of two for the same thing, the tighter one."""
    found: dict[tuple[str, str, str, tuple[str, ...]], Any] = {}
    recipes = {recipe for v in evidence.verdicts for recipe in (v.recipe,)}
    for row in evidence.budget.limits:
        key = (row.recipe, row.output, row.metric, row.targets)
        known = found.get(key)
        if row.recipe in recipes and (known is None or not worse(row.metric, row.limit, known.limit)):
            found[key] = row
    return [
        {
            "recipe": row.recipe,
            "output": {"*": "every output", "features": "features between modules"}.get(row.output, row.output),
            "metric": words.metric_name(row.metric),
            "limit": words.limit({"metric": row.metric, "limit": row.limit}, higher(row.metric)),
            "reason": row.reason,
        }
        for row in sorted(found.values(), key=lambda row: row.recipe)
    ]
