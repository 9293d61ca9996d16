"""Is NEW faster or slower than OLD? Stored grids, or two build folders timed now in alternating processes.

A sample is the median of one process (benchmarks/grid/run.py); the samples of both sides go through the Mann-Whitney
U test (Mann and Whitney 1947), which asks nothing of their distribution: times have long tails. Fewer than LEAST
processes per side can show no difference at all (with 4 and 4 the smallest two-sided p is .029, with 5 and 5 .008).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from statistics import median

from benchmarks.evidence.envelope import identity_of, read, write
from benchmarks.evidence.environment import Machine
from benchmarks.evidence.grid import ComparisonEvidence, ComparisonRow, GridEvidence, GridRow
from benchmarks.grid.run import Contender, Rounds, evidence_of, line_up, take_rounds
from benchmarks.request import Progress, Request, check_goldens, silent, subject_of
from hydramobile.errors import BudgetBroken, NothingJudged, StageError, UsageError

LEAST = 5
LEVEL = 0.05
# What makes two machines unlike: numbers of one say nothing about the other.
MACHINE = ("system", "machine", "processor", "flags", "cores")
# What may differ, and is said.
NOTED = ("release", "memory", "python")
# The verdicts that answer the question.
ANSWERS = ("faster", "slower", "alike")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is compared: an entry of an artifact in a runtime."""

    target: str
    recipe: str
    runtime: str
    entry: str


@dataclass(frozen=True, slots=True)
class Side:
    """One side of an entry: the artifact's hash, and the milliseconds of its processes."""

    artifact: str
    times: Sequence[float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row per entry that either side has; `notes` say what differs between the machines."""

    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]


def read_grid(path: Path, model: str) -> GridEvidence:
    """Read a stored grid: the JSON file, or the one in a build folder (OUT or OUT/<model>). Raises UsageError."""
    places = [path] if path.is_file() else [path / GridEvidence.FILE, path / model / GridEvidence.FILE]
    for place in places:
        if place.is_file():
            try:
                return read(GridEvidence, place)
            except StageError as error:
                raise UsageError(f"{place} is no stored grid: {error.message}") from error
    raise UsageError(f"no stored grid in {path} (looked for {', '.join(map(str, places))}); make one with: make bench")


def run_interleaved(
    old: Request, new: Request, rounds: Rounds, progress: Progress = silent
) -> tuple[GridEvidence, GridEvidence]:
    """Time two build folders, their processes taking turns; both get NEW's inputs."""
    check_goldens(new)
    sides = line_up(old), line_up(new)
    take_rounds(alternate(*(side.contenders for side in sides)), rounds, new, progress)
    first, second = (evidence_of(request, rounds, side.rows) for request, side in zip((old, new), sides, strict=True))
    return first, second


def alternate(first: Sequence[Contender], second: Sequence[Contender]) -> list[Contender]:
    """Let the two sides of an artifact follow each other; what only one side has comes alone."""
    return [contender for pair in zip_longest(first, second) for contender in pair if contender is not None]


def compare(old: GridEvidence, new: GridEvidence) -> Comparison:
    """Compare two grids entry by entry.

    Raises UsageError for grids of unlike machines or of another number of threads, and of another model.
    """
    for key, values in (("model", (old.model, new.model)), ("threads", (old.threads, new.threads))):
        if values[0] != values[1]:
            raise UsageError(f"OLD and NEW do not compare: {key} is {values[0]!r} and {values[1]!r}")
    if old.machine is None or new.machine is None:
        raise UsageError("OLD and NEW do not compare: a grid does not name the machine that it was measured on")
    unlike = differences(old.machine, new.machine, MACHINE)
    if unlike:
        listed = "; ".join(f"{key}: {values}" for key, values in unlike.items())
        raise UsageError(f"OLD and NEW were measured on unlike machines, which do not compare ({listed})")
    notes = [f"{key} differs: {values}" for key, values in differences(old.machine, new.machine, NOTED).items()]
    sides = samples(old.results), samples(new.results)
    rows = [judge(key, *(side.get(key) for side in sides)) for key in sorted({*sides[0], *sides[1]})]
    rows = [explained(row, old.results, new.results) if row.verdict == "alone" else row for row in rows]
    return Comparison((*rows, *untimed(old.results, new.results)), tuple(notes))


def differences(old: Machine, new: Machine, keys: Iterable[str]) -> dict[str, str]:
    """Return both values of every field that differs."""
    fields = {
        "system": (old.system, new.system),
        "machine": (old.machine, new.machine),
        "processor": (old.processor, new.processor),
        "flags": (" ".join(old.flags), " ".join(new.flags)),
        "cores": (old.cores, new.cores),
        "release": (old.release, new.release),
        "memory": (old.memory, new.memory),
        "python": (old.python, new.python),
    }
    return {key: f"{fields[key][0]} and {fields[key][1]}" for key in keys if fields[key][0] != fields[key][1]}


def samples(rows: Iterable[GridRow]) -> dict[Key, Side]:
    return {
        Key(row.target, row.recipe, row.runtime, entry): Side(row.artifact, list(times.values()))
        for row in rows
        for entry, times in row.medians.items()
    }


def judge(key: Key, old: Side | None, new: Side | None) -> ComparisonRow:
    """Compare one entry."""
    row = ComparisonRow(
        target=key.target,
        recipe=key.recipe,
        runtime=key.runtime,
        entry=key.entry,
        artifact=new.artifact if new else old.artifact if old else "",
        old_ms=round(median(old.times), 4) if old else None,
        new_ms=round(median(new.times), 4) if new else None,
        verdict="alone",
        reason=f"only in {'OLD' if old else 'NEW'}",
    )
    if old is None or new is None or row.old_ms is None or row.new_ms is None:
        return row
    counts = len(old.times), len(new.times)
    ratio = round(row.new_ms / row.old_ms, 4)
    row = replace(row, ratio=ratio, same_file=old.artifact == new.artifact, processes=counts)
    if min(counts) < LEAST:
        reason = f"{counts[0]} and {counts[1]} processes; {LEAST} a side are needed to tell"
        return replace(row, verdict="few", reason=reason)
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(old.times, new.times, alternative="two-sided").pvalue)
    if p >= LEVEL:
        return replace(row, p=round(p, 5), verdict="alike", reason=f"not significant (p {p:.2g})")
    return replace(row, p=round(p, 5), verdict="faster" if ratio < 1 else "slower", reason=f"p {p:.2g}")


def explained(row: ComparisonRow, old: Iterable[GridRow], new: Iterable[GridRow]) -> ComparisonRow:
    """Add to a row that only one side timed why the other side did not, where it says so."""
    for side, rows in (("OLD", old), ("NEW", new)):
        for other in rows:
            if subject_of(other) == subject_of(row) and not other.processes:
                return replace(row, reason=f"{row.reason} ({side}: {other.verdict}: {other.reason})")
    return row


def untimed(old: Iterable[GridRow], new: Iterable[GridRow]) -> list[ComparisonRow]:
    """Return one row per artifact and runtime that neither side timed, with the reason of the newer."""
    sides = [{subject_of(row): row for row in rows} for rows in (old, new)]
    timed = {key for side in sides for key, row in side.items() if row.processes}
    known = {**sides[0], **sides[1]}
    return [
        ComparisonRow(
            target=row.target,
            recipe=row.recipe,
            runtime=row.runtime,
            artifact=row.artifact,
            verdict="untimed",
            reason=f"{row.verdict}: {row.reason}",
        )
        for key, row in sorted(known.items())
        if key not in timed
    ]


def write_comparison(new: Request, grids: tuple[GridEvidence, GridEvidence], found: Comparison) -> Path:
    evidence = ComparisonEvidence(
        **identity_of(new.spec),
        machine=grids[1].machine,
        old=grids[0],
        new=grids[1],
        results=found.rows,
        notes=found.notes,
    )
    return write(new.root, evidence)


def conclude_compare(found: Comparison, gate: float | None) -> str:
    """Return the reason line.

    Raises BudgetBroken where an entry is significantly slower by more than `gate` percent, and NothingJudged where no
    entry has enough processes on both sides.
    """
    rows = [row for row in found.rows if row.verdict != "untimed"]
    answered = [row for row in rows if row.verdict in ANSWERS]
    if not answered:
        reasons = sorted({row.reason for row in rows}) or ["neither side timed anything"]
        raise NothingJudged(f"nothing can be compared: {'; '.join(reasons)}")
    if gate is not None:
        slower = [(row.ratio, row) for row in answered if row.verdict == "slower" and row.ratio is not None]
        over = [(ratio, row) for ratio, row in slower if ratio > 1 + gate / 100]
        if over:
            ratio, worst = max(over, key=lambda pair: pair[0])
            name = f"{worst.target or 'the reference'} {worst.recipe} {worst.entry} in {worst.runtime}"
            raise BudgetBroken(
                f"{name} is {ratio - 1:.1%} slower ({worst.old_ms:.2f} to {worst.new_ms:.2f} ms, "
                f"p {worst.p:.2g}), above the gate of {gate:g} % ({len(over)} of {len(answered)} entries)"
            )
        missing = [row for row in rows if row.verdict == "few"]
        if missing:
            raise NothingJudged(f"{len(missing)} entries cannot pass the gate: {missing[0].reason}")
    verdicts = ("faster", "slower", "alike", "few", "alone")
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in verdicts}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
