"""Profiles: milliseconds by operator, from a runtime's own profiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Row


@dataclass(frozen=True, slots=True)
class OpTime:
    """One operator of the graph, or several that the profiler does not tell apart.

    `ms` is the time of all of them in one inference, `calls` how often they ran in it; `kind` names the kernel,
    `name` the operator.
    """

    kind: str
    name: str
    ms: float
    calls: float


@dataclass(frozen=True, slots=True)
class KindTime:
    """All operators of one kernel: milliseconds, share of the entry's time, calls, and the slowest operator."""

    kind: str
    ms: float
    share: float
    calls: int
    slowest: str


@dataclass(frozen=True, slots=True)
class EntryProfile:
    """One entry; `kinds` the most expensive first, `ops` in execution order. `reason` says why there are none."""

    entry: str
    modules: tuple[str, ...] = ()
    ms: float = 0.0
    kinds: tuple[KindTime, ...] = ()
    ops: tuple[OpTime, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow(Row):
    """One artifact in one runtime, with the 1-minute load average before it was profiled."""

    verdict: Literal["measured", "unavailable", "failed"] = "measured"
    runtime_version: Mapping[str, str] = field(default_factory=dict)
    load: float = 0.0
    entries: tuple[EntryProfile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEvidence(Evidence[ProfileRow]):
    FILE: ClassVar[str] = "profile.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["profile"] = "profile"
