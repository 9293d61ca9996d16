"""The process that times one artifact in one runtime, or the reference itself.

First the primary entry alone, as an app would meet it: cold start (the runtime's own start included) and peak
memory. Then every entry: load, first run, warm-up until its time is stable. Then rounds in which all entries, and
the reference's primary entry, take turns: a ratio is taken within a round, so that a machine that gets busier for a
while slows both sides of it.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.runtime import Array, Runtime, Session, load_runtime
from hydramobile.artifact import Artifact, Entry, read_artifact
from hydramobile.errors import HydraError, StageError
from hydramobile.goldens import Golden, load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import EntrySpec, ModelSpec, load_spec

# A window of runs; warm-up ends when two windows in a row agree, or when its time is up.
WINDOW = 0.1
AGREE = 0.03
WARM_LIMIT = 2.0
# How long one entry runs before the next takes its turn, the fewest runs of a turn, and the fewest rounds.
TURN = 0.1
TURN_RUNS = 3
ROUNDS = 5
KEPT = 2000
Row = dict[str, Any]


@dataclass(slots=True)
class Subject:
    """Something timed: `open` loads it, `turns` holds the seconds of its runs, a list a round."""

    ident: str
    modules: tuple[str, ...]
    inputs: Mapping[str, Array]
    open: Callable[[], Session]
    session: Session | None = None
    facts: Row = field(default_factory=dict)
    turns: list[list[float]] = field(default_factory=list)

    def start(self) -> None:
        """Load and run once, timed apart."""
        started = time.perf_counter()
        self.session = self.open()
        self.facts["load_s"] = round(time.perf_counter() - started, 6)
        self.session.bind(self.inputs)
        self.facts["first_s"] = round(self.session.invoke(), 6)

    def run(self, seconds: float, least: int = TURN_RUNS) -> list[float]:
        """Times of runs for about `seconds` of wall time, at least `least` of them."""
        assert self.session is not None
        # An optional method, of sessions whose runs are far from this process.
        if sample := getattr(self.session, "sample", None):
            return list(sample(seconds, least))
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < least or time.perf_counter() < end:
            times.append(self.session.invoke())
        return times

    def warm(self) -> None:
        end = time.perf_counter() + WARM_LIMIT
        runs, last, stable = 0, 0.0, False
        while not stable and time.perf_counter() < end:
            times = self.run(WINDOW)
            now = median(times)
            stable = last > 0 and abs(now - last) <= AGREE * last
            runs, last = runs + len(times), now
        self.facts["warm_up"] = {"runs": runs, "stable": stable, "p50_ms": round(last * 1e3, 4)}

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def subjects_of(runtime: Runtime, folder: Path, artifact: Artifact, golden: Golden, threads: int) -> list[Subject]:
    def opener(entry: Entry) -> Callable[[], Session]:
        return lambda: runtime.open(folder, entry, threads)

    return [
        Subject(e.id, e.modules, values(golden, [port.name for port in e.inputs]), opener(e))
        for e in artifact.entries
        if not e.variant
    ]


def prepare(runtime: Runtime, threads: int) -> None:
    """What runs already when an app or page starts, such as the browser: an optional method of the runtime."""
    if start := getattr(runtime, "prepare", None):
        start(threads)


def reference_subjects(spec: ModelSpec, golden: Golden, threads: int) -> list[Subject]:
    """The entries of the reference, in PyTorch. Empty where that cannot run."""
    runtime: Any = load_runtime("pytorch")
    if runtime.unavailable():
        return []

    def opener(entry: EntrySpec) -> Callable[[], Session]:
        return lambda: runtime.open_reference(spec, entry, threads)

    entries = spec.entries.values()
    return [Subject(e.name, e.modules, values(golden, e.inputs), opener(e)) for e in entries]


def values(golden: Golden, names: Sequence[str]) -> dict[str, Array]:
    found = {name: golden.value(name) for name in names}
    return {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in found.items()}


def primary(subjects: Sequence[Subject]) -> Subject:
    """What an app would call: the entry with the most modules."""
    return max(subjects, key=lambda subject: len(subject.modules))


def entry_of(artifact: Artifact, ident: str) -> Entry:
    return next(entry for entry in artifact.entries if entry.id == ident)


def measure(
    subjects: Sequence[Subject],
    rivals: Sequence[Subject],
    seconds: float,
    say: Callable[[str], None],
    peak: Callable[[], int | None],
) -> Row:
    """The result row. `rivals` are the reference's entries: the primary one takes turns with the artifact's.
    `peak` tells the peak memory so far, None where nobody knows it."""
    main = primary(subjects)
    with ExitStack() as stack:
        baseline = peak()
        main.start()
        cold = {key: main.facts[key] for key in ("load_s", "first_s")}
        memory = {"baseline": baseline, "peak": peak(), "entry": main.ident}
        main.close()
        rival = next((r for r in rivals if r.modules == main.modules), None)
        turning = [*subjects, *([rival] if rival else [])]
        for subject in turning:
            stack.callback(subject.close)
            say(f"{subject.ident}: load and warm up")
            subject.start()
            subject.warm()
        say(f"{len(turning)} entries take turns")
        take_turns(turning, seconds)
    return {
        "verdict": "measured",
        "seconds": seconds,
        "primary": main.ident,
        "cold": cold,
        "memory": {**memory, "all_entries": peak()},
        "entries": [entry_row(subject) for subject in subjects],
        "ratios": ratios(subjects, main, rival),
    }


def take_turns(subjects: Sequence[Subject], seconds: float) -> None:
    slowest = max(subject.facts["warm_up"]["p50_ms"] / 1e3 for subject in subjects)
    rounds = max(ROUNDS, round(seconds / max(TURN, TURN_RUNS * slowest)))
    for index in range(rounds):
        # Who follows whom changes, so that nobody always inherits the same caches.
        first = index % len(subjects)
        for subject in (*subjects[first:], *subjects[:first]):
            subject.turns.append(subject.run(seconds / rounds))


def entry_row(subject: Subject) -> Row:
    times = np.array([value for turn in subject.turns for value in turn])
    p25, p50, p75, p90, p99 = (float(value) for value in np.quantile(times, (0.25, 0.5, 0.75, 0.9, 0.99)))
    kept = times[np.linspace(0, times.size - 1, min(KEPT, times.size)).round().astype(int)]
    return {
        "entry": subject.ident,
        "modules": list(subject.modules),
        **subject.facts,
        "runs": int(times.size),
        "p50_ms": round(p50 * 1e3, 4),
        "p90_ms": round(p90 * 1e3, 4),
        "p99_ms": round(p99 * 1e3, 4),
        "min_ms": round(float(times.min()) * 1e3, 4),
        "spread": round((p75 - p25) / p50, 4),
        "samples_us": [round(float(value) * 1e6) for value in kept],
    }


def ratios(subjects: Sequence[Subject], main: Subject, rival: Subject | None) -> list[Row]:
    """Each other entry over the primary one ("rerun": a head on cached features), the primary over the reference."""
    found = [
        ratio("encoder" if takes_photo(subject, main) else "rerun", subject, main)
        for subject in subjects
        if subject is not main
    ]
    return found + ([ratio("reference", main, rival)] if rival else [])


def takes_photo(subject: Subject, main: Subject) -> bool:
    return bool(set(subject.inputs) & set(main.inputs))


def ratio(kind: str, above: Subject, below: Subject) -> Row:
    """The median over the rounds of median time over median time, with the quartiles of the rounds."""
    shares = [median(a) / median(b) for a, b in zip(above.turns, below.turns, strict=True)]
    low, middle, high = (round(float(value), 5) for value in np.quantile(shares, (0.25, 0.5, 0.75)))
    own = {"kind": kind, "entry": above.ident, "to": below.ident}
    return {**own, "value": middle, "low": low, "high": high, "rounds": len(shares)}


def peak_memory() -> int:
    """Peak resident bytes of this process and of the children it has now."""
    import psutil

    me = psutil.Process()
    return sum(peak_of(process) for process in (me, *me.children(recursive=True)))


def peak_of(process: Any) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)


def main() -> None:
    job, stream = receive(sys.argv[1:])
    with stream:
        try:
            spec = load_spec(Path(job["model"]))
            samples = load_samples(spec, "judge")[:1]
            golden = load_goldens(spec, samples, spec.size, Path(job["out"]))[0]
            rivals = reference_subjects(spec, golden, job["threads"])
            subjects, against, found = rivals, [], None
            if job["folder"]:
                folder = Path(job["folder"])
                runtime = load_runtime(job["runtime"])
                subjects = subjects_of(runtime, folder, read_artifact(folder), golden, job["threads"])
                against = rivals
                found = getattr(runtime, "environment", None)
                prepare(runtime, job["threads"])

            def say(text: str) -> None:
                send(stream, event="stage", text=text)

            result = measure(subjects, against, job["seconds"], say, peak_memory)
            if found:
                result["environment"] = found(job["threads"])
            send(stream, event="result", result=result)
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, told with its name
            traceback.print_exc()
            stage = error.stage if isinstance(error, StageError) else "run"
            text = error.message if isinstance(error, StageError) else str(error)
            reason = text if isinstance(error, HydraError) else f"{type(error).__name__}: {text}"
            send(stream, event="failed", stage=stage, reason=reason)


if __name__ == "__main__":
    main()
