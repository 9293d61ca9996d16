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
    """Seconds of the first load and the first run in a fresh process; the start of the runtime is included."""

    load_s: float = 0.0
    first_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.load_s + self.first_s


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak resident bytes of the process: before the first load, after the first run of `entry`, and at the end.

    None where the peak is unknown, as in a page on another device.
    """

    baseline: int | None = None
    peak: int | None = None
    entry: str = ""
    all_entries: int | None = None


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Runs before the measured ones; `stable` is false if their median still changed at the time limit."""

    runs: int
    stable: bool
    p50_ms: float


@dataclass(frozen=True, slots=True)
class EntryLatency:
    """Times of one entry: load and first run in seconds, quantiles of the steady state in milliseconds.

    `spread` is the interquartile range divided by the median. `samples_us` holds the microseconds of up to 2000 of the
    `runs`, evenly spread.
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
    """The ratio of the times of `entry` and `to`: median over the rounds, with the quartiles `low` and `high`.

    `kind` is "rerun" for a head on cached features over the primary entry, "encoder" for an entry that takes the photo
    over the primary entry, and "reference" for the primary entry over the same entry in PyTorch.
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
    """The 1-minute load average before and after the measurement."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class PageDevice:
    """The device that opened the served page.

    `name` is the name that its user typed. `why` is the reason for which it counts as another device or as this
    computer. `models` names the phones on the cable. `insecure` marks a page that is not in a secure context.
    """

    id: str
    name: str
    why: str = ""
    facts: Offer | None = None
    models: tuple[str, ...] = ()
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """The comparison of the timed entry with the reference, by the limits of parity."""

    entry: str
    mode: Mode
    verdict: Verdict
    reason: str
    samples: int
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow(Row):
    """One artifact in one runtime. The measured fields are empty unless `verdict` is "measured".

    `primary` is the entry with the most modules, which is the one that an app calls. The verdict "untimed" marks a
    runtime whose times do not predict an app's.
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
    """Latency of artifacts. `notes` say which rows of an earlier run were dropped, and why."""

    FILE: ClassVar[str] = "latency.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["latency"] = "latency"
    notes: tuple[str, ...] = ()
