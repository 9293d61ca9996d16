"""Worker process: time one artifact in one runtime, or the PyTorch reference (see benchmarks/latency/subject.py)."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.evidence.envelope import plain
from benchmarks.latency.subject import Monitor, measure, reference_subjects, subjects_of
from benchmarks.request import reason_of, stage_of
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.goldens import load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

if TYPE_CHECKING:
    import psutil


def peak_memory() -> int:
    """Return the peak resident bytes of this process and its present children, summed."""
    import psutil

    me = psutil.Process()
    return sum(peak_of(process) for process in (me, *me.children(recursive=True)))


def peak_of(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)


def main() -> None:
    job, stream = receive(sys.argv[1:])
    threads = job["threads"]
    with stream:
        monitor = Monitor(lambda text: send(stream, event="stage", text=text), peak_memory)
        try:
            spec = load_spec(Path(job["model"]))
            golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
            reference = reference_subjects(spec, golden, threads)
            if job["folder"]:
                folder, runtime = Path(job["folder"]), load_runtime(job["runtime"])
                subjects = subjects_of(runtime, folder, read_artifact(folder), golden, threads)
                runtime.prepare(threads)
                result = measure(subjects, reference, job["seconds"], monitor)
                result = replace(result, environment=runtime.environment(threads))
            else:
                result = measure(reference, [], job["seconds"], monitor)
            send(stream, event="result", result=plain(result))
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, with its name
            traceback.print_exc()
            send(stream, event="failed", stage=stage_of(error, "run"), reason=reason_of(error))


if __name__ == "__main__":
    main()
