"""The process behind one sample of the grid: every entry of one artifact alone, one after the other."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.latency.worker import Subject, prepare, reference_subjects, subjects_of
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.errors import HydraError, StageError
from hydramobile.goldens import load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec


def measure(subject: Subject, seconds: float) -> dict[str, Any]:
    """Load, first run, warm-up, then the median of about `seconds` of runs."""
    try:
        subject.start()
        subject.warm()
        times = subject.run(seconds)
    finally:
        subject.close()
    own = {"entry": subject.ident, "load_s": subject.facts["load_s"], "first_s": subject.facts["first_s"]}
    return {**own, "runs": len(times), "p50_ms": round(median(times) * 1e3, 4)}


def main() -> None:
    job, stream = receive(sys.argv[1:])
    with stream:
        try:
            spec = load_spec(Path(job["model"]))
            golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
            if job["folder"]:
                folder = Path(job["folder"])
                runtime = load_runtime(job["runtime"])
                prepare(runtime, job["threads"])
                subjects = subjects_of(runtime, folder, read_artifact(folder), golden, job["threads"])
            else:
                subjects = reference_subjects(spec, golden, job["threads"])
            entries = [measure(subject, job["seconds"]) for subject in subjects]
            send(stream, event="result", result={"entries": entries})
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, told with its name
            traceback.print_exc()
            stage = error.stage if isinstance(error, StageError) else "run"
            text = error.message if isinstance(error, StageError) else str(error)
            reason = text if isinstance(error, HydraError) else f"{type(error).__name__}: {text}"
            send(stream, event="failed", stage=stage, reason=reason)


if __name__ == "__main__":
    main()
