"""Time the entries of one artifact: load, first run, warm-up, and interleaved rounds of runs.

1. The primary entry alone, as in an app: cold start (start of the runtime included) and peak memory.
2. Every entry: load, first run, and warm-up until its time is stable.
3. Rounds in which all entries and the reference's primary entry take turns. A ratio is taken within one round, so
   that a temporary load on the machine slows both of its sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from benchmarks.evidence.latency import ColdStart, EntryLatency, LatencyRow, Memory, Ratio, WarmUp
from benchmarks.optional import Reference, Sampling
from benchmarks.parity.outputs import as_float
from benchmarks.runtime import Array, Runtime, Session, load_runtime
from hydramobile.artifact import Artifact, Entry, primary
from hydramobile.goldens import Golden
from hydramobile.spec import EntrySpec, ModelSpec

# Warm-up runs windows of WINDOW seconds. It ends when the medians of two consecutive windows differ by at most the
# share AGREE, or after WARM_LIMIT seconds.
WINDOW = 0.1
AGREE = 0.03
WARM_LIMIT = 2.0
# Seconds of one entry's turn, the fewest runs per turn, the fewest rounds, and the most samples stored per entry.
TURN = 0.1
TURN_RUNS = 3
ROUNDS = 5
KEPT = 2000


@dataclass(slots=True)
class Subject:
    """An entry to time. `open` loads it; `turns` holds the seconds of its runs, one list per round."""

    ident: str
    modules: tuple[str, ...]
    inputs: Mapping[str, Array]
    open: Callable[[], Session]
    session: Session | None = None
    cold: ColdStart = field(default_factory=ColdStart)
    warm_up: WarmUp = field(default_factory=lambda: WarmUp(0, False, 0.0))
    turns: list[list[float]] = field(default_factory=list)

    def start(self) -> None:
        """Load the entry and run it once; time the load and the run separately."""
        started = time.perf_counter()
        self.session = self.open()
        load_s = round(time.perf_counter() - started, 6)
        self.session.bind(self.inputs)
        self.cold = ColdStart(load_s, round(self.session.invoke(), 6))

    def run(self, seconds: float, least: int = TURN_RUNS) -> list[float]:
        """Run for about `seconds` of wall time, at least `least` times, and return the seconds of each run."""
        assert self.session is not None
        if isinstance(self.session, Sampling):
            return self.session.sample(seconds, least)
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
        self.warm_up = WarmUp(runs, stable, round(last * 1e3, 4))

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def subjects_of(runtime: Runtime, folder: Path, artifact: Artifact, golden: Golden, threads: int) -> list[Subject]:
    """Return the primary entries of an artifact, with the golden's sample as their input."""

    def opener(entry: Entry) -> Callable[[], Session]:
        return lambda: runtime.open(folder, entry, threads)

    return [
        Subject(entry.id, entry.modules, values(golden, [port.name for port in entry.inputs]), opener(entry))
        for entry in primary(artifact)
    ]


def reference_subjects(spec: ModelSpec, golden: Golden, threads: int) -> list[Subject]:
    """Return the entries of the reference in PyTorch; empty where PyTorch cannot run."""
    runtime = load_runtime("pytorch")
    if not isinstance(runtime, Reference) or runtime.unavailable():
        return []
    reference: Reference = runtime

    def opener(entry: EntrySpec) -> Callable[[], Session]:
        return lambda: reference.open_reference(spec, entry, threads)

    entries = spec.entries.values()
    return [Subject(e.name, e.modules, values(golden, e.inputs), opener(e)) for e in entries]


def values(golden: Golden, names: Sequence[str]) -> dict[str, Array]:
    """Return tensors of a golden; float16 tensors are converted to float32."""
    return {name: as_float(golden.value(name)) for name in names}


def main_subject(subjects: Sequence[Subject]) -> Subject:
    """Return the entry with the most modules, which is the one that an app calls."""
    return max(subjects, key=lambda subject: len(subject.modules))


@dataclass(frozen=True, slots=True)
class Monitor:
    """Callbacks of a measurement.

    `say` reports progress. `peak` returns the peak memory of the process so far in bytes, None where it is unknown.
    """

    say: Callable[[str], None]
    peak: Callable[[], int | None]


def measure(subjects: Sequence[Subject], rivals: Sequence[Subject], seconds: float, monitor: Monitor) -> LatencyRow:
    """Time the entries and return a row with the measured fields; the row names no artifact.

    `rivals` are the entries of the reference. The one with the main subject's modules takes turns with `subjects`.
    """
    main = main_subject(subjects)
    with ExitStack() as stack:
        baseline = monitor.peak()
        main.start()
        cold, peak = main.cold, monitor.peak()
        main.close()
        rival = next((r for r in rivals if r.modules == main.modules), None)
        turning = [*subjects, *([rival] if rival else [])]
        for subject in turning:
            stack.callback(subject.close)
            monitor.say(f"{subject.ident}: load and warm up")
            subject.start()
            subject.warm()
        monitor.say(f"{len(turning)} entries take turns")
        take_turns(turning, seconds)
    return LatencyRow(
        target="",
        recipe="",
        artifact="",
        seconds=seconds,
        primary=main.ident,
        cold=cold,
        memory=Memory(baseline, peak, main.ident, monitor.peak()),
        entries=tuple(map(entry_latency, subjects)),
        ratios=tuple(ratios(subjects, main, rival)),
    )


def take_turns(subjects: Sequence[Subject], seconds: float) -> None:
    slowest = max(subject.warm_up.p50_ms / 1e3 for subject in subjects)
    rounds = max(ROUNDS, round(seconds / max(TURN, TURN_RUNS * slowest)))
    for index in range(rounds):
        # The order rotates, so that no entry always starts with the caches that the same other entry left.
        first = index % len(subjects)
        for subject in (*subjects[first:], *subjects[:first]):
            subject.turns.append(subject.run(seconds / rounds))


def entry_latency(subject: Subject) -> EntryLatency:
    times = np.array([value for turn in subject.turns for value in turn])
    p25, p50, p75, p90, p99 = (float(value) for value in np.quantile(times, (0.25, 0.5, 0.75, 0.9, 0.99)))
    kept = times[np.linspace(0, times.size - 1, min(KEPT, times.size)).round().astype(int)]
    return EntryLatency(
        entry=subject.ident,
        modules=subject.modules,
        load_s=subject.cold.load_s,
        first_s=subject.cold.first_s,
        warm_up=subject.warm_up,
        runs=int(times.size),
        p50_ms=round(p50 * 1e3, 4),
        p90_ms=round(p90 * 1e3, 4),
        p99_ms=round(p99 * 1e3, 4),
        min_ms=round(float(times.min()) * 1e3, 4),
        spread=round((p75 - p25) / p50, 4),
        samples_us=tuple(round(float(value) * 1e6) for value in kept),
    )


def ratios(subjects: Sequence[Subject], main: Subject, rival: Subject | None) -> list[Ratio]:
    """Return the ratio of every other entry to the primary entry, and of the primary entry to the reference."""
    result = [
        ratio("encoder" if takes_photo(subject, main) else "rerun", subject, main)
        for subject in subjects
        if subject is not main
    ]
    return result + ([ratio("reference", main, rival)] if rival else [])


def takes_photo(subject: Subject, main: Subject) -> bool:
    return bool(set(subject.inputs) & set(main.inputs))


def ratio(kind: Literal["rerun", "encoder", "reference"], above: Subject, below: Subject) -> Ratio:
    """Divide the median times of two entries within each round; return the median and quartiles over the rounds."""
    shares = [median(a) / median(b) for a, b in zip(above.turns, below.turns, strict=True)]
    low, middle, high = (round(float(value), 5) for value in np.quantile(shares, (0.25, 0.5, 0.75)))
    return Ratio(kind, above.ident, below.ident, middle, low, high, len(shares))
