"""Constructors for rows of parity: an empty row, a failure, and a skipped comparison."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.evidence.parity import Mode, ParityRow
from benchmarks.request import reason_of, stage_of
from benchmarks.runtime import Absent, Runtime
from hydramobile.artifact import Artifact
from hydramobile.errors import HydraError

# The stage of rows for comparisons that a lean run skips, because another row covers them.
LEFT_OUT = "left out"


def blank(artifact: Artifact, runtime: Runtime) -> ParityRow:
    """Return a passing row without measures; the caller replaces the fields that it knows."""
    return ParityRow(
        target=artifact.target,
        recipe=artifact.recipe,
        artifact=artifact.sha256,
        runtime=runtime.name,
        evidence=runtime.evidence,
    )


def failed(base: ParityRow, error: HydraError, entry: str = "", mode: Mode = "") -> ParityRow:
    """Return the row of an error: "failed", or "unavailable" if the machine or device lacks a requirement."""
    return replace(
        base,
        verdict="unavailable" if isinstance(error, Absent) else "failed",
        stage=stage_of(error, "run"),
        reason=reason_of(error),
        entry=entry,
        mode=mode,
    )


def left_out(row: ParityRow) -> bool:
    """Return whether a row records a skipped comparison, which is no verdict on the artifact."""
    return row.stage == LEFT_OUT


def leave_out(base: ParityRow, reason: str, entry: str = "", mode: Mode = "") -> ParityRow:
    return replace(base, verdict="unavailable", stage=LEFT_OUT, reason=reason, entry=entry, mode=mode)
