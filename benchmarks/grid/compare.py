"""Compare the times of two grids, OLD and NEW: stored ones, or two build folders timed in alternating processes.

A sample is the median of one process (benchmarks/grid/run.py). The samples of both sides are compared by the
Mann-Whitney U test (Mann and Whitney 1947), which assumes no distribution, because times have long tails. Fewer than
LEAST processes per side are not compared (with 4 and 4 the smallest two-sided p is .029, with 5 and 5 .008).
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
# Fields of a machine that must be equal: otherwise its times do not compare.
MACHINE = ("system", "machine", "processor", "flags", "cores")
# Fields whose differences are only noted.
NOTED = ("release", "memory", "python")
# Verdicts of entries with enough processes on both sides.
ANSWERS = ("faster", "slower", "alike")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The unit of comparison: an entry of an artifact in a runtime."""

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
    """One row per entry of either side; `notes` list the differences between the machines."""

    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]


def read_grid(path: Path, model: str) -> GridEvidence:
    """Read a stored grid: a JSON file, or the one in a build folder (OUT or OUT/<model>). Raises UsageError."""
    files = [path] if path.is_file() else [path / GridEvidence.FILE, path / model / GridEvidence.FILE]
    for file in files:
        if file.is_file():
            try:
                return read(GridEvidence, file)
            except StageError as error:
                raise UsageError(f"{file} is no stored grid: {error.message}") from error
    raise UsageError(f"no stored grid in {path} (looked for {', '.join(map(str, files))}); make one with: make bench")


def run_interleaved(
    old: Request, new: Request, rounds: Rounds, progress: Progress = silent
) -> tuple[GridEvidence, GridEvidence]:
    """Time two build folders in alternating processes; both get NEW's inputs."""
    check_goldens(new)
    sides = line_up(old), line_up(new)
    take_rounds(alternate(*(side.contenders for side in sides)), rounds, new, progress)
    first, second = (evidence_of(request, rounds, side.rows) for request, side in zip((old, new), sides, strict=True))
    return first, second


def alternate(first: Sequence[Contender], second: Sequence[Contender]) -> list[Contender]:
    """Interleave the contenders of two sides; contenders of the longer side come last."""
    return [contender for pair in zip_longest(first, second) for contender in pair if contender is not None]


def compare(old: GridEvidence, new: GridEvidence) -> Comparison:
    """Compare two grids entry by entry.

    Raises UsageError if the grids differ in machine, number of threads or model.
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
    """Extend the reason of a row that only one side timed by the reason of the other side, if it has one."""
    for side, rows in (("OLD", old), ("NEW", new)):
        for other in rows:
            if subject_of(other) == subject_of(row) and not other.processes:
                return replace(row, reason=f"{row.reason} ({side}: {other.verdict}: {other.reason})")
    return row


def untimed(old: Iterable[GridRow], new: Iterable[GridRow]) -> list[ComparisonRow]:
    """Return one row per artifact and runtime that neither side timed, with NEW's reason."""
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


def write_comparison(new: Request, grids: tuple[GridEvidence, GridEvidence], comparison: Comparison) -> Path:
    evidence = ComparisonEvidence(
        **identity_of(new.spec),
        machine=grids[1].machine,
        old=grids[0],
        new=grids[1],
        results=comparison.rows,
        notes=comparison.notes,
    )
    return write(new.root, evidence)


def conclude_compare(comparison: Comparison, gate: float | None) -> str:
    """Return the reason line of a pass.

    Raises BudgetBroken if an entry is significantly slower by more than `gate` percent, NothingJudged if no entry has
    enough processes on both sides, or, with a gate, if one has too few.
    """
    rows = [row for row in comparison.rows if row.verdict != "untimed"]
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
