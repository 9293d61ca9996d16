"""The fields of every row of evidence: the artifact, the runtime, the evidence label, and the reason of a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

# The origin of a number; every figure in a report carries one of these labels.
Label = Literal[
    "measured-on-device",
    "host",
    "browser-host",
    "emulated-arm",
    "instruction-proxy",
    "interpreted",
    "static",
]
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of evidence.

    `artifact` is the sha256 of the sealed artifact that was measured; a report shows a row of another hash as stale.
    It is empty if the artifact could not be read. `target` is empty for the PyTorch reference. `stage` and `reason`
    explain every verdict other than success. `kept` is the time of measurement where an earlier run measured the row
    and nothing that it depends on has changed since (benchmarks/kept.py).
    """

    target: str
    recipe: str
    artifact: str
    runtime: str = ""
    evidence: Label | Literal[""] = ""
    stage: str = ""
    reason: str = ""
    kept: str = ""

    @property
    def name(self) -> str:
        """TARGET/RECIPE, or "the reference"."""
        return f"{self.target}/{self.recipe}" if self.target else "the reference"

    @property
    def pair(self) -> tuple[str, str]:
        return self.target, self.recipe
