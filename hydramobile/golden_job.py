"""Compute goldens in a worker process (hydramobile/golden_worker.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydramobile.errors import HydraError, NothingJudged, StageError, UsageError
from hydramobile.process import WorkerDied, events
from hydramobile.spec import ModelSpec

HANG_LIMIT = 600.0


def compute_goldens(spec: ModelSpec, out: Path, samples: Path | None, commit: int) -> int:
    """Compute missing and stale goldens, and return how many were computed.

    `commit` is the number of samples whose goldens are also refreshed in the model's folder. Raises the error of the
    worker, or StageError("golden") where the worker ended without one: the model's code may end its own process.
    """
    job = {
        "model": str(spec.folder),
        "out": str(out),
        "samples": str(samples) if samples else None,
        "commit": commit,
    }
    log, at = out / spec.name / "goldens.log", "start"
    try:
        for event in events("hydramobile.golden_worker", job, log, HANG_LIMIT):
            if event["event"] == "failed":
                raise error_of(event)
            if event["event"] == "done":
                return int(event["computed"])
            at = str(event.get("sample"))
    except WorkerDied as error:
        raise StageError("golden", f"at {at}: {error}") from error
    raise StageError("golden", f"the worker ended at {at} without a result; its log: {log}")


def error_of(event: dict[str, Any]) -> HydraError:
    """Return the error that a worker reported, with the exit code that it has there."""
    for kind in (UsageError, NothingJudged):
        if event["code"] == kind.exit_code:
            return kind(event["message"])
    return StageError(event["stage"] or "golden", event["message"])
