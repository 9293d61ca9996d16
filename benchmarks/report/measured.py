"""The tables of size and time: latency, re-runs of a head on cached features, grid, profiles, browsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.evidence.environment import Browser, Offer, Placement
from benchmarks.evidence.latency import EntryLatency, LatencyRow, Load, Ratio
from benchmarks.evidence.profile import KindTime, ProfileRow
from benchmarks.grid.run import Summary, summarize
from benchmarks.report.gather import Gathered, State
from benchmarks.report.judged import Loss
from hydramobile.measures import higher

FRAMES = 30
# The goal for the first result of a page or app, in seconds; a longer wait feels broken to a user.
FIRST_RESULT = 1.0
# The goal for a re-run of a head on cached features, as a share of a run of the whole model.
RERUN = 0.25
# The number of kernels of a profile to show.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class LatencyLine:
    """The primary entry of one timed artifact in a runtime, which is the entry that an app calls."""

    row: LatencyRow
    stale: bool
    main: EntryLatency
    reference: Ratio | None

    @property
    def cold_ms(self) -> float:
        return self.row.cold.total_s * 1e3

    @property
    def cold_good(self) -> bool:
        return self.row.cold.total_s <= FIRST_RESULT

    @property
    def frames(self) -> float:
        return 1e3 / self.main.p50_ms if self.main.p50_ms else 0.0

    @property
    def frames_good(self) -> bool:
        return self.frames >= FRAMES

    @property
    def own_memory(self) -> int | None:
        """Bytes that loading and running the artifact added; the runtime is included."""
        memory = self.row.memory
        return None if memory.peak is None or memory.baseline is None else memory.peak - memory.baseline

    @property
    def load(self) -> Load | None:
        return self.row.load


@dataclass(frozen=True, slots=True)
class RerunLine:
    """One entry of one timed artifact in a runtime.

    `kind`: "rerun" is a head on cached features, "encoder" computes them, "fused" computes everything. `good` says
    whether a head's re-run is within `RERUN`, None for other entries. `span` is the number of entries on the line of
    the first entry, 0 on the others.
    """

    row: LatencyRow
    stale: bool
    entry: str
    kind: str
    p50_ms: float
    share: Ratio | None
    good: bool | None
    weight_bytes: int | None
    span: int


@dataclass(frozen=True, slots=True)
class PlacementLine:
    target: str
    recipe: str
    runtime: str
    evidence: str
    entry: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class ProfileLine:
    """The slowest kernels of one profiled artifact's primary entry; `rest` is the share of all others."""

    row: ProfileRow
    entry: str
    ms: float
    kinds: Sequence[KindTime]
    rest: float


@dataclass(frozen=True, slots=True)
class TradePoint:
    """A point of the chart of size against loss: bytes that an app ships and the worst task loss of one output.

    Lower is better for both.
    """

    target: str
    recipe: str
    state: State
    output: str
    metric: str
    loss: float
    limit: float | None
    bytes: int
    evidence: str


@dataclass(frozen=True, slots=True)
class BrowserLine:
    """One artifact timed in a browser.

    `heads` holds the least and the greatest share of a head's re-run. `model_gzip` is the bytes of the artifact's files
    after gzip.
    """

    row: LatencyRow
    stale: bool
    browser: Browser
    main: EntryLatency
    insecure: bool
    heads: tuple[float, float] | None
    model_gzip: int | None

    @property
    def visit_gzip(self) -> int | None:
        """Bytes after gzip that the first visit of a page downloads: the engine and the model."""
        return self.browser.runtime.gzip + self.model_gzip if self.model_gzip else None


@dataclass(slots=True)
class BrowserOffer:
    """The features of one browser that ran an artifact, and the runtimes that ran in it."""

    where: str
    evidence: str
    offer: Offer
    runtimes: list[str]

    @property
    def wasm(self) -> list[str]:
        features = self.offer.wasm
        named = {"simd": features.simd, "relaxed simd": features.relaxed_simd, "threads": features.threads}
        return [name for name, present in named.items() if present]


def timed(evidence: Gathered) -> list[LatencyRow]:
    """Return the latency rows with times on this computer, the reference first.

    Rows of other devices are left out, because times of different machines do not compare.
    """
    rows = [row for row in evidence.latencies if row.verdict == "measured" and not row.device]
    return sorted(rows, key=lambda row: (bool(row.target), row.target, row.recipe, row.runtime))


def latency_lines(evidence: Gathered) -> list[LatencyLine]:
    """Return one line per timed artifact x runtime, on its primary entry."""
    return [
        LatencyLine(
            row, evidence.stale(row), row.main, next((item for item in row.ratios if item.kind == "reference"), None)
        )
        for row in timed(evidence)
    ]


def rerun_lines(evidence: Gathered) -> list[RerunLine]:
    """Return one line per timed artifact x runtime x entry: milliseconds, share of the fused run, bytes."""
    lines = []
    for row in timed(evidence):
        if len(row.entries) < 2:
            continue
        shares = {item.entry: item for item in row.ratios if item.kind in ("encoder", "rerun")}
        size = evidence.size(row.target, row.recipe) if row.target else None
        weights = {entry.entry: entry.weight_bytes for entry in size.entries} if size else {}
        for index, entry in enumerate(row.entries):
            share = shares.get(entry.entry)
            lines.append(
                RerunLine(
                    row=row,
                    stale=evidence.stale(row),
                    entry=entry.entry,
                    kind=share.kind if share else "fused",
                    p50_ms=entry.p50_ms,
                    share=share,
                    good=share.value <= RERUN if share and share.kind == "rerun" else None,
                    weight_bytes=weights.get(entry.entry),
                    span=0 if index else len(row.entries),
                )
            )
    return lines


def grid_lines(evidence: Gathered) -> list[Summary]:
    """Return one line per artifact x runtime of the grid, on its primary entry; stale rows are left out."""
    fresh = [row for row in evidence.grids if not evidence.stale(row)]
    modules = {entry.name: len(entry.modules) for entry in evidence.spec.entries.values()}
    most = max(modules.values())
    return [line for line in summarize(fresh) if modules.get(line.entry) == most]


def placement_lines(evidence: Gathered) -> list[PlacementLine]:
    """Return one line per artifact, runtime and entry with a known placement."""
    lines = []
    for row in evidence.parity:
        environment = row.facts.environment
        if environment and not evidence.stale(row):
            for entry, placement in environment.placement.items():
                lines.append(PlacementLine(row.target, row.recipe, row.runtime, row.evidence, entry, placement))
    return lines


def profile_lines(evidence: Gathered) -> list[ProfileLine]:
    """Return one line per profiled artifact x runtime."""
    lines = []
    for row in evidence.profiles:
        if row.verdict == "measured" and not evidence.stale(row):
            main = max(row.entries, key=lambda entry: len(entry.modules))
            kinds = main.kinds[:SHOWN]
            rest = max(1 - sum(kind.share for kind in kinds), 0.0)
            lines.append(ProfileLine(row, main.entry, main.ms, kinds, rest))
    return lines


def trade_points(evidence: Gathered, losses: Mapping[tuple[str, str], Mapping[str, Loss]]) -> list[TradePoint]:
    """Return one point per artifact x output: bytes that an app ships and the worst task loss."""
    points = []
    for verdict in evidence.verdicts:
        size = evidence.size(*verdict.pair)
        for output, loss in losses.get(verdict.pair, {}).items():
            if size:
                measure = loss.measure
                rising = higher(measure.metric)
                limit = measure.limit
                points.append(
                    TradePoint(
                        target=verdict.target,
                        recipe=verdict.recipe,
                        state=verdict.state,
                        output=output,
                        metric=measure.metric,
                        loss=1 - measure.value if rising else measure.value,
                        limit=None if limit is None else 1 - limit if rising else limit,
                        bytes=size.ships.bytes,
                        evidence=loss.evidence,
                    )
                )
    return points


def browser_lines(evidence: Gathered) -> list[BrowserLine]:
    """Return one line per artifact timed in a browser, on this computer (first) or on a device that opened the page."""
    rows = [row for row in evidence.latencies if row.verdict == "measured" and row.browser]
    lines = []
    for row in sorted(rows, key=lambda row: (row.device.name if row.device else "", row.runtime, row.target)):
        heads = [item.value for item in row.ratios if item.kind == "rerun"]
        size = evidence.size(row.target, row.recipe)
        if row.browser:
            lines.append(
                BrowserLine(
                    row=row,
                    stale=evidence.stale(row),
                    browser=row.browser,
                    main=row.main,
                    insecure=not row.browser.secure,
                    heads=(min(heads), max(heads)) if heads else None,
                    model_gzip=size.ships.gzip if size and not evidence.stale(size) else None,
                )
            )
    return lines


def browsers(evidence: Gathered) -> list[BrowserOffer]:
    """Return the features of each distinct browser in the rows of parity and latency."""
    seen: list[tuple[str, str, str, Browser]] = [
        ("this computer", row.evidence, row.runtime, row.facts.environment.browser)
        for row in evidence.parity
        if row.facts.environment and row.facts.environment.browser
    ]
    seen += [(row.where, row.evidence, row.runtime, row.browser) for row in evidence.latencies if row.browser]
    offers: dict[tuple[str, str, str], BrowserOffer] = {}
    for where, label, runtime, browser in seen:
        adapter = browser.adapter.name if browser.adapter else "none"
        known = offers.setdefault((where, browser.user_agent, adapter), BrowserOffer(where, label, browser, []))
        if runtime not in known.runtimes:
            known.runtimes.append(runtime)
    return list(offers.values())
