"""Profiles: milliseconds by operator, from the profiler of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Row


@dataclass(frozen=True, slots=True)
class OpTime:
    """Time of one operator of the graph, or of several that the profiler does not distinguish.

    `ms` is their time in one inference, and `calls` the number of their runs in it. `kind` names the kernel, and
    `name` the operator.
    """

    kind: str
    name: str
    ms: float
    calls: float


@dataclass(frozen=True, slots=True)
class KindTime:
    """Time of all operators of one kernel: milliseconds, share of the entry's time, calls, the slowest operator."""

    kind: str
    ms: float
    share: float
    calls: int
    slowest: str


@dataclass(frozen=True, slots=True)
class EntryProfile:
    """Profile of one entry: `kinds` by descending time, `ops` in execution order.

    `reason` says why both are empty.
    """

    entry: str
    modules: tuple[str, ...] = ()
    ms: float = 0.0
    kinds: tuple[KindTime, ...] = ()
    ops: tuple[OpTime, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow(Row):
    """Profile of one artifact in one runtime; `load` is the 1-minute load average before it."""

    verdict: Literal["measured", "unavailable", "failed"] = "measured"
    runtime_version: Mapping[str, str] = field(default_factory=dict)
    load: float = 0.0
    entries: tuple[EntryProfile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileEvidence(Evidence[ProfileRow]):
    FILE: ClassVar[str] = "profile.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["profile"] = "profile"
