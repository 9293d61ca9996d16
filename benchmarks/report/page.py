"""The context of the templates: tables, charts, pictures, and notes on missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.evidence.environment import Machine
from benchmarks.evidence.row import Row
from benchmarks.evidence.size import SizeRow
from benchmarks.report import charts, judged, measured, words
from benchmarks.report.calibration import calibration_cells, calibration_lines
from benchmarks.report.gather import Gathered
from benchmarks.report.glossary import recipe_meanings, word_rows
from benchmarks.report.grouped import refusal_groups, undone_groups, verdict_groups
from benchmarks.report.judged import Loss, Number
from benchmarks.report.measured import RerunLine
from benchmarks.report.opening import Opening
from benchmarks.report.pictures import Overview, Picture
from benchmarks.report.strongest import strength_lines
from benchmarks.report.typical import Typical
from hydramobile.budget import Limit
from hydramobile.measures import worse
from hydramobile.samples import Sample

GOOD = ("ships", "passes")


@dataclass(frozen=True, slots=True)
class PixelLine:
    """One departure from the preprocessing contract: the number of photos that it changes, and the measures on them."""

    name: str
    about: str
    samples: int
    numbers: Sequence[Number]
    reason: str


@dataclass(frozen=True, slots=True)
class Pixels:
    """The *from pixels* table, and the target and runtime of the float32 artifact that was run for it."""

    target: str
    runtime: str
    evidence: str
    rows: Sequence[PixelLine]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The parts of a report for which artifacts were run. `notes` say which pictures are missing, and why.

    `overview` is drawn where there is no `typical` picture.
    """

    typical: Typical | None
    overview: Overview | None
    pictures: Sequence[Picture]
    notes: Sequence[str]
    pixels: Pixels | None


@dataclass(frozen=True, slots=True)
class Headline:
    """A summary of all verdicts in a sentence, and its tone (good, warn, bad)."""

    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class Card:
    """One key figure at the top of the report."""

    title: str
    value: str
    about: str
    evidence: str


@dataclass(frozen=True, slots=True)
class SealLine:
    """One artifact on disk: the hash of its seal, its requirements on the app, and notes of its exporter."""

    name: str
    sha256: str
    requires: Mapping[str, str]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit of the budget with its reason."""

    recipe: str
    output: str
    metric: str
    limit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Goals:
    """Goals: frames per second, seconds until the first result, and the re-run of a head as a share of a whole run."""

    frames: int = measured.FRAMES
    first: float = measured.FIRST_RESULT
    rerun: float = measured.RERUN


@dataclass(frozen=True, slots=True)
class Provenance:
    """The data for reproducing the report: hashes, versions, machine, samples, limits, and what was kept."""

    artifacts: Sequence[SealLine]
    spec_sha256: str
    weights_sha256: str
    runtimes: Mapping[str, str]
    toolchain: Mapping[str, str]
    machine: Machine | None
    loads: tuple[float, float] | None
    latency_notes: Sequence[str]
    samples: Sequence[Sample]
    samples_judged: int
    samples_asked: int
    limits: Sequence[LimitLine]
    kept: str = ""
    goals: Goals = Goals()


def page_context(evidence: Gathered, drawn: Drawn, begin: Opening) -> dict[str, Any]:
    """Return the variables of the templates by name."""
    losses = {verdict.pair: judged.losses(evidence, *verdict.pair) for verdict in evidence.verdicts}
    sizes = [size for verdict in evidence.verdicts if (size := evidence.size(*verdict.pair))]
    latencies, reruns = measured.latency_lines(evidence), measured.rerun_lines(evidence)
    points = measured.trade_points(evidence, losses)
    fresh = [line for line in latencies if not line.stale]
    current = [row for row in sizes if not evidence.stale(row)]
    return {
        "spec": evidence.spec,
        "is_stale": evidence.stale,
        "opening": begin,
        "verdicts": verdict_groups(judged.verdict_lines(evidence)),
        "headline": headline(evidence),
        "cards": cards(evidence, losses, sizes, reruns),
        "matrix": judged.matrix(evidence),
        "losses": judged.loss_lines(evidence),
        "calibrations": calibration_cells(calibration_lines(evidence)),
        "refusals": refusal_groups(judged.refusals(evidence)),
        "unavailable": undone_groups(judged.unavailable(evidence)),
        "stored_dtypes": judged.stored_dtypes(evidence),
        "sizes": sizes,
        "latencies": latencies,
        "reruns": reruns,
        "web": measured.browser_lines(evidence),
        "browsers": measured.browsers(evidence),
        "grid": measured.grid_lines(evidence),
        "grid_about": evidence.documents.grid,
        "profiles": measured.profile_lines(evidence),
        "cost": evidence.documents.cost,
        "costs": evidence.costs,
        "strongest": strength_lines(evidence),
        "devices": evidence.devices,
        "placements": measured.placement_lines(evidence),
        "instructions": [row for row in evidence.instructions if row.entries],
        "size_chart": charts.size_chart(current) if current else None,
        "latency_chart": charts.latency_chart(fresh) if fresh else None,
        "trade_charts": [charts.trade_chart(points, output) for output in dict.fromkeys(p.output for p in points)],
        "trade": points,
        "provenance": provenance(evidence),
        "missing": evidence.missing,
        "stale": stale(evidence),
        "words": words,
        "glossary": word_rows(),
        "recipes": recipe_meanings(evidence.spec, (verdict.recipe for verdict in evidence.verdicts)),
        "targets": list(dict.fromkeys(verdict.target for verdict in evidence.verdicts)),
        "typical": drawn.typical,
        "overview": drawn.overview,
        "pictures": drawn.pictures,
        "taken": [take.name for take in begin.takes if take.recipe],
        "notes": drawn.notes,
        "pixels": drawn.pixels,
    }


def headline(evidence: Gathered) -> Headline:
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
    return Headline(text, "bad" if bad else "warn" if waiting or not good else "good")


def cards(
    evidence: Gathered,
    losses: Mapping[tuple[str, str], Mapping[str, Loss]],
    sizes: Iterable[SizeRow],
    reruns: Iterable[RerunLine],
) -> list[Card]:
    """Return the key figures over the artifacts that ship or pass."""
    standing = [verdict.pair for verdict in evidence.verdicts if verdict.state in GOOD]
    result: list[Card] = []
    for tensor in evidence.spec.judged():
        named = [("/".join(pair), losses[pair][tensor.name]) for pair in standing if tensor.name in losses[pair]]
        if named:
            result.append(loss_card(tensor.name, named))
    weighed = [row for row in sizes if row.pair in standing]
    if weighed:
        least = min(weighed, key=lambda row: row.ships.bytes)
        megabytes = words.megabytes(least.ships.bytes)
        result.append(Card("smallest that stands", megabytes, f"{least.name}, all modules", "static"))
    heads = [line for line in reruns if line.kind == "rerun" and line.row.target]
    shares = [line.share.value for line in heads if line.share]
    if shares:
        text = f"{min(shares) * 100:.0f} – {max(shares) * 100:.0f} %"
        label = heads[0].row.evidence
        result.append(Card("a head run again, of a whole run", text, "on cached features", label))
    return result


def loss_card(output: str, named: Sequence[tuple[str, Loss]]) -> Card:
    """Return the worst of several losses of an output, each given with the name of its artifact."""
    name, loss = named[0]
    for other, candidate in named:
        if worse(candidate.measure.metric, candidate.measure.value, loss.measure.value):
            name, loss = other, candidate
    measure = loss.measure
    metric = words.metric_name(measure.metric)
    perfect = measure.value == words.perfect(measure.metric)
    about = "no loss in any of them" if perfect else f"{name} on {measure.worst}"
    value = words.number(measure.metric, measure.value)
    return Card(f"{output}: worst {metric} of what stands", value, about, loss.evidence)


def stale(evidence: Gathered) -> list[str]:
    """Return one line per artifact with evidence of an earlier export."""
    kinds: Mapping[str, Sequence[Row]] = {
        "parity": evidence.parity,
        "size": evidence.sizes,
        "latency": evidence.latencies,
        "grid": evidence.grids,
        "profile": evidence.profiles,
        "cost": evidence.costs,
        "device": evidence.devices,
        "instructions": evidence.instructions,
    }
    found: dict[str, dict[str, None]] = {}
    for kind, rows in kinds.items():
        for row in rows:
            if evidence.stale(row):
                found.setdefault(row.name, {})[kind] = None
    return [f"{name}: {', '.join(own)}" for name, own in found.items()]


def provenance(evidence: Gathered) -> Provenance:
    latency, parity = evidence.documents.latency, evidence.documents.parity
    runtimes: dict[str, str] = {}
    for versions in (row.runtime_version for rows in (evidence.parity, evidence.latencies) for row in rows):
        runtimes |= versions
    toolchain: dict[str, str] = {}
    for artifact in evidence.artifacts.values():
        toolchain |= artifact.toolchain
    loads = [row.load for row in evidence.latencies if row.load]
    judged_samples = parity.samples if parity else ()
    return Provenance(
        artifacts=[
            SealLine("/".join(pair), artifact.sha256, artifact.requires, artifact.notes)
            for pair, artifact in evidence.artifacts.items()
        ],
        spec_sha256=evidence.spec.sha256,
        weights_sha256=evidence.spec.weights_sha256,
        runtimes=runtimes,
        toolchain=toolchain,
        machine=latency.machine if latency else parity.machine if parity else None,
        loads=(min(load.before for load in loads), max(load.after for load in loads)) if loads else None,
        latency_notes=latency.notes if latency else (),
        samples=[sample for sample in evidence.samples if not parity or sample.name in judged_samples],
        samples_judged=len(judged_samples),
        samples_asked=parity.samples_asked if parity else 0,
        limits=limits(evidence),
        kept=kept_words(evidence),
    )


def kept_words(evidence: Gathered) -> str:
    """Return the sentence on the rows that an earlier run measured; "" where all are of the last one."""
    documents = evidence.documents
    kinds = (documents.parity, documents.size, documents.latency, documents.cost, documents.profile)
    rows: list[Row] = [row for document in kinds if document for row in document.results]
    times = sorted(row.kept for row in rows if row.kept)
    if not times:
        return ""
    return (
        f"{len(times)} of {len(rows)} rows of parity, size, latency, cost and profile are of earlier runs, the oldest "
        f"of {times[0]}: nothing that they depend on has changed since. AGAIN=1 measures anew."
    )


def limits(evidence: Gathered) -> list[LimitLine]:
    """Return every limit of the budget with its reason; the tighter one of two limits on the same metric."""
    found: dict[tuple[str, str, str, tuple[str, ...]], Limit] = {}
    recipes = {verdict.recipe for verdict in evidence.verdicts}
    for row in evidence.budget.limits:
        key = (row.recipe, row.output, row.metric, row.targets)
        known = found.get(key)
        if row.recipe in recipes and (known is None or not worse(row.metric, row.limit, known.limit)):
            found[key] = row
    names = {"*": "every output", "features": "features between modules"}
    return [
        LimitLine(
            recipe=row.recipe,
            output=names.get(row.output, row.output),
            metric=words.metric_name(row.metric),
            limit=words.limit(row.metric, row.limit),
            reason=row.reason,
        )
        for row in sorted(found.values(), key=lambda row: row.recipe)
    ]
