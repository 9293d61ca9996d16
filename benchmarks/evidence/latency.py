"""Latency: load, first run and steady state of the entries of one artifact in one runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.environment import Browser, Environment, Offer
from benchmarks.evidence.parity import Mode, Verdict
from benchmarks.evidence.row import Row
from hydramobile.measures import Measure


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds of the first load and the first run in a fresh process, the runtime's own start included."""

    load_s: float = 0.0
    first_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.load_s + self.first_s


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak resident bytes of the process: before the first load, after the first run of `entry`, and at the end.

    None where nobody can tell, as in a page on another device.
    """

    baseline: int | None = None
    peak: int | None = None
    entry: str = ""
    all_entries: int | None = None


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Runs before the measured ones; `stable` is false where their median still moved when the time was up."""

    runs: int
    stable: bool
    p50_ms: float


@dataclass(frozen=True, slots=True)
class EntryLatency:
    """One entry: load and first run in seconds, quantiles of the steady state in milliseconds.

    `spread` is the interquartile range over the median. `samples_us` keeps up to 2000 of the `runs`, evenly spread.
    """

    entry: str
    modules: tuple[str, ...]
    load_s: float
    first_s: float
    warm_up: WarmUp
    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    spread: float
    samples_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median over the rounds of time over time, with the quartiles `low` and `high`.

    `kind` says of what: "rerun" is a head on cached features over the primary entry, "encoder" an entry that takes
    the photo over the primary entry, "reference" the primary entry over PyTorch's.
    """

    kind: Literal["rerun", "encoder", "reference"]
    entry: str
    to: str
    value: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Load:
    """The 1-minute load average before and after."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class PageDevice:
    """The device that opened the served page.

    `name` is what its user typed, `why` says on what ground the device counts as another one, and `models` names the
    phones on the cable. `insecure` marks a page in no secure context.
    """

    id: str
    name: str
    why: str = ""
    facts: Offer | None = None
    models: tuple[str, ...] = ()
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the timed entry compares with the reference, by the limits of parity."""

    entry: str
    mode: Mode
    verdict: Verdict
    reason: str
    samples: int
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow(Row):
    """One artifact in one runtime. The measured fields are empty unless `verdict` is "measured".

    `primary` is the entry with the most modules: what an app would call. `untimed` marks a runtime whose time says
    nothing about an app.
    """

    verdict: Literal["measured", "untimed", "unavailable", "failed"] = "measured"
    threads: int = 0
    runtime_version: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    primary: str = ""
    cold: ColdStart = ColdStart()
    memory: Memory = Memory()
    entries: tuple[EntryLatency, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    load: Load | None = None
    environment: Environment | None = None
    device: PageDevice | None = None
    agreement: Agreement | None = None

    @property
    def main(self) -> EntryLatency:
        """The primary entry of a measured row."""
        return next(entry for entry in self.entries if entry.entry == self.primary)

    @property
    def browser(self) -> Browser | None:
        return self.environment.browser if self.environment else None

    @property
    def where(self) -> str:
        """The device that opened the served page, or this computer."""
        return self.device.name if self.device else "this computer"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyEvidence(Evidence[LatencyRow]):
    """`notes` say which rows of an earlier run were dropped, and why."""

    FILE: ClassVar[str] = "latency.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["latency"] = "latency"
    notes: tuple[str, ...] = ()
