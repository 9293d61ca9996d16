"""What every row of evidence says: of which artifact, in which runtime, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

# Where a number comes from; every figure in a report carries one of these.
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

    `artifact` is the sha256 of the sealed artifact that the row belongs to: a report shows a row of another hash as
    stale. It is empty where the artifact could not be read, and `target` is empty for the reference itself. `stage`
    and `reason` explain every verdict but a success.
    """

    target: str
    recipe: str
    artifact: str
    runtime: str = ""
    evidence: Label | Literal[""] = ""
    stage: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """TARGET/RECIPE, or what the reference is called."""
        return f"{self.target}/{self.recipe}" if self.target else "the reference"

    @property
    def pair(self) -> tuple[str, str]:
        return self.target, self.recipe
