"""Worker process for one sample of the grid: time the entries of one artifact in sequence."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from statistics import median

from benchmarks.evidence.envelope import plain
from benchmarks.evidence.grid import ProcessEntry
from benchmarks.latency.subject import Subject, reference_subjects, subjects_of
from benchmarks.request import reason_of, stage_of
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.goldens import load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec


def measure(subject: Subject, seconds: float) -> ProcessEntry:
    """Load the entry, run it once, warm it up, and return the median of about `seconds` of runs."""
    try:
        subject.start()
        subject.warm()
        times = subject.run(seconds)
    finally:
        subject.close()
    return ProcessEntry(
        entry=subject.ident,
        load_s=subject.cold.load_s,
        first_s=subject.cold.first_s,
        runs=len(times),
        p50_ms=round(median(times) * 1e3, 4),
    )


def main() -> None:
    job, stream = receive(sys.argv[1:])
    with stream:
        try:
            spec = load_spec(Path(job["model"]))
            golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
            if job["folder"]:
                folder, runtime = Path(job["folder"]), load_runtime(job["runtime"])
                runtime.prepare(job["threads"])
                subjects = subjects_of(runtime, folder, read_artifact(folder), golden, job["threads"])
            else:
                subjects = reference_subjects(spec, golden, job["threads"])
            entries = [plain(measure(subject, job["seconds"])) for subject in subjects]
            send(stream, event="result", entries=entries)
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, with its name
            traceback.print_exc()
            send(stream, event="failed", stage=stage_of(error, "run"), reason=reason_of(error))


if __name__ == "__main__":
    main()
