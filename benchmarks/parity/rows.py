"""Rows of parity: a blank one of an artifact in a runtime, and one that says what went wrong."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.evidence.parity import Mode, ParityRow
from benchmarks.request import reason_of, stage_of
from benchmarks.runtime import Absent, Runtime
from hydramobile.artifact import Artifact
from hydramobile.errors import HydraError

# The stage of rows that stand for what another row shows.
LEFT_OUT = "left out"


def blank(artifact: Artifact, runtime: Runtime) -> ParityRow:
    """Return a passing row without numbers; the caller replaces what it knows."""
    return ParityRow(
        target=artifact.target,
        recipe=artifact.recipe,
        artifact=artifact.sha256,
        runtime=runtime.name,
        evidence=runtime.evidence,
    )


def failed(base: ParityRow, error: HydraError, entry: str = "", mode: Mode = "") -> ParityRow:
    """Return the row of an error: "failed", or "unavailable" where the machine or device lacks something."""
    return replace(
        base,
        verdict="unavailable" if isinstance(error, Absent) else "failed",
        stage=stage_of(error, "run"),
        reason=reason_of(error),
        entry=entry,
        mode=mode,
    )


def left_out(row: ParityRow) -> bool:
    """Return whether a row stands for what another row shows: said in its reason, and no verdict on the artifact."""
    return row.stage == LEFT_OUT


def leave_out(base: ParityRow, reason: str, entry: str = "", mode: Mode = "") -> ParityRow:
    return replace(base, verdict="unavailable", stage=LEFT_OUT, reason=reason, entry=entry, mode=mode)
