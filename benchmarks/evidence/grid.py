"""The grid: artifacts timed in interleaved rounds of fresh processes, and the comparison of two grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Row


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """Times of one entry in one process: load and first run in seconds, the median of `runs` runs in milliseconds."""

    entry: str
    load_s: float
    first_s: float
    runs: int
    p50_ms: float


@dataclass(frozen=True, slots=True)
class Process:
    """One fresh process of round `round`; `load` is the 1-minute load average before its start."""

    round: int
    load: float
    entries: tuple[ProcessEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow(Row):
    """One artifact in one runtime, with one process per round."""

    verdict: Literal["measured", "untimed", "unavailable", "failed"] = "measured"
    runtime_version: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()

    @property
    def medians(self) -> dict[str, dict[int, float]]:
        """Median milliseconds of each process: entry -> {round: median}."""
        medians: dict[str, dict[int, float]] = {}
        for process in self.processes:
            for entry in process.entries:
                medians.setdefault(entry.entry, {})[process.round] = entry.p50_ms
        return medians


@dataclass(frozen=True, slots=True, kw_only=True)
class GridEvidence(Evidence[GridRow]):
    """Times of artifacts in interleaved rounds.

    There are `rounds` processes per artifact, about `seconds` of steady state per entry and process, and `threads`
    threads per runtime.
    """

    FILE: ClassVar[str] = "grid.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["grid"] = "grid"
    rounds: int
    seconds: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow(Row):
    """One entry of two grids.

    `p` is the two-sided p-value of the Mann-Whitney U test, and `processes` the number of processes of either side.
    Verdicts: "faster" and "slower" are significant differences; "alike" is none; "few" means too few processes;
    "alone" means that one side did not time the entry; "untimed" means that neither side did, for `reason`.
    `same_file` says that both sides timed the same bytes.
    """

    verdict: Literal["faster", "slower", "alike", "few", "alone", "untimed"]
    entry: str = ""
    old_ms: float | None = None
    new_ms: float | None = None
    ratio: float | None = None
    p: float | None = None
    same_file: bool = False
    processes: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEvidence(Evidence[ComparisonRow]):
    """Two grids that were timed in alternating processes. `notes` list the differences between their machines."""

    FILE: ClassVar[str] = "compare.json"
    COMMAND: ClassVar[str] = "python -m benchmarks compare OLD NEW --interleaved"
    kind: Literal["compare"] = "compare"
    old: GridEvidence
    new: GridEvidence
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRow(Row):
    """Times of one artifact as shares of its target's float32 file, by entry, from `rounds` interleaved rounds.

    `load` holds the least and the greatest 1-minute load average of the rounds. It is empty if nothing was timed.
    """

    to_float32: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 0
    load: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesEvidence(Evidence[TimeRow]):
    FILE: ClassVar[str] = "support-times.json"
    COMMAND: ClassVar[str] = "make grid"
    kind: Literal["support-times"] = "support-times"
