"""ARM instructions per inference, by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Label, Row


@dataclass(frozen=True, slots=True)
class EntryCounts:
    """Instructions of one inference by class, "total" included.

    `share` is the total divided by the total of the entry with the most modules. For a head, it is the cost of a new
    run on cached features, relative to a run of the whole model.
    """

    entry: str
    modules: tuple[str, ...]
    counts: Mapping[str, int]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionRow(Row):
    """One artifact on one emulated processor."""

    evidence: Label | Literal[""] = "instruction-proxy"
    verdict: Literal["counted", "unavailable", "failed"] = "counted"
    runtime_version: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[EntryCounts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionEvidence(Evidence[InstructionRow]):
    FILE: ClassVar[str] = "instructions.json"
    COMMAND: ClassVar[str] = "make instructions"
    kind: Literal["instructions"] = "instructions"
