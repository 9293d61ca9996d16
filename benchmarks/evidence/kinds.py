"""All kinds of evidence, by name."""

from __future__ import annotations

from typing import Any

from benchmarks.evidence.cost import CostEvidence
from benchmarks.evidence.device import DeviceEvidence
from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.grid import ComparisonEvidence, GridEvidence, TimesEvidence
from benchmarks.evidence.instructions import InstructionEvidence
from benchmarks.evidence.latency import LatencyEvidence
from benchmarks.evidence.parity import ParityEvidence
from benchmarks.evidence.profile import ProfileEvidence
from benchmarks.evidence.size import SizeEvidence

KINDS: dict[str, type[Evidence[Any]]] = {
    "parity": ParityEvidence,
    "size": SizeEvidence,
    "cost": CostEvidence,
    "latency": LatencyEvidence,
    "grid": GridEvidence,
    "compare": ComparisonEvidence,
    "support-times": TimesEvidence,
    "profile": ProfileEvidence,
    "instructions": InstructionEvidence,
    "device": DeviceEvidence,
}
