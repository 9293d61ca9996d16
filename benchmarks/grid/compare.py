"""Is NEW faster or slower than OLD? Stored grids, or two build folders timed now in alternating processes.

A sample is the median of one process (benchmarks/grid.py); the samples of both sides go through the Mann-Whitney U
test (Mann and Whitney 1947), which asks nothing of their distribution: times have long tails. Fewer than LEAST
processes a side can show no difference at all (with 4 and 4 the smallest two-sided p is .029, with 5 and 5 .008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.grid.run import FILE, Progress, Rounds, check_inputs, document_of, line_up, medians, take_rounds
from benchmarks.parity.run import Request
from hydramobile.errors import BudgetBroken, NothingJudged, StageError, UsageError
from hydramobile.files import dump_json, read_json, write_text

LEAST = 5
LEVEL = 0.05
# What makes two machines unlike: numbers of one say nothing about the other.
MACHINE = ("system", "machine", "processor", "flags", "cores")
# What may differ, and is said.
NOTED = ("release", "memory", "python")
Row = dict[str, Any]
Key = tuple[str, str, str, str]


def read_grid(path: Path, model: str) -> Row:
    """A stored grid: the JSON file, or the one in a build folder (OUT or OUT/<model>). Raises UsageError."""
    places = [path] if path.is_file() else [path / FILE, path / model / FILE]
    for place in places:
        if place.is_file():
            try:
                found: Any = read_json(place, "grid")
            except StageError as error:
                raise UsageError(f"{place} is no stored grid: {error.message}") from error
            if (
                not isinstance(found, dict)
                or found.get("schema") != 1
                or not isinstance(found.get("results"), list)
                or "machine" not in found
            ):
                raise UsageError(f"{place} is no stored grid: it is not what `python -m benchmarks grid` writes")
            return found
    raise UsageError(f"no stored grid in {path} (looked for {', '.join(map(str, places))}); make one with: make bench")


def run_interleaved(
    old: Request, new: Request, rounds: Rounds, progress: Progress = lambda text: None
) -> tuple[Row, Row]:
    """The grids of two build folders, their processes taking turns; both get NEW's inputs."""
    check_inputs(new)
    lines = [line_up(old), line_up(new)]
    turns = [contender for pair in zip_longest(lines[0][1], lines[1][1]) for contender in pair]
    take_rounds(turns, rounds, new, progress)
    made = [
        document_of(request, rounds, [*rows, *(contender.row for contender in contenders)])
        for request, (rows, contenders) in zip((old, new), lines, strict=True)
    ]
    return made[0], made[1]


def zip_longest(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Pairs, so that the two sides of an artifact follow each other; what only one side has comes alone."""
    longer = max(len(first), len(second))
    return [tuple(side[index] for side in (first, second) if index < len(side)) for index in range(longer)]


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Row:
    """{"rows", "notes"}: one row an entry that either side timed.

    Raises UsageError for grids of unlike machines or of another number of threads, and of another model.
    """
    for key in ("model", "threads"):
        if old.get(key) != new.get(key):
            raise UsageError(f"OLD and NEW do not compare: {key} is {old.get(key)!r} and {new.get(key)!r}")
    unlike = [key for key in MACHINE if old["machine"].get(key) != new["machine"].get(key)]
    if unlike:
        told = "; ".join(f"{key}: {shown(old, key)} and {shown(new, key)}" for key in unlike)
        raise UsageError(f"OLD and NEW were measured on unlike machines, which do not compare ({told})")
    notes = [
        f"{key} differs: {shown(old, key)} and {shown(new, key)}"
        for key in NOTED
        if old["machine"].get(key) != new["machine"].get(key)
    ]
    sides = [samples(document) for document in (old, new)]
    keys = sorted({*sides[0], *sides[1]})
    return {"rows": [judge(key, *(side.get(key) for side in sides)) for key in keys], "notes": notes}


def shown(document: Mapping[str, Any], key: str) -> str:
    value = document["machine"].get(key)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def samples(document: Mapping[str, Any]) -> dict[Key, tuple[str, list[float]]]:
    """(target, recipe, runtime, entry) -> (the artifact's hash, milliseconds of its processes)."""
    return {
        (row["target"], row["recipe"], row["runtime"], entry): (row["artifact"], list(found.values()))
        for row in document["results"]
        for entry, found in medians(row).items()
    }


def judge(key: Key, old: tuple[str, list[float]] | None, new: tuple[str, list[float]] | None) -> Row:
    """One row. `verdict`: faster, slower, alike (no significant difference), few (too few processes), alone."""
    own: Row = dict(zip(("target", "recipe", "runtime", "entry"), key, strict=True))
    own |= {"old_ms": None, "new_ms": None, "ratio": None, "p": None, "same_file": False, "processes": [0, 0]}
    for side, found in (("old_ms", old), ("new_ms", new)):
        if found:
            own[side] = round(median(found[1]), 4)
    if old is None or new is None:
        return {**own, "verdict": "alone", "reason": f"only in {'OLD' if old else 'NEW'}"}
    counts = [len(old[1]), len(new[1])]
    own |= {"ratio": round(own["new_ms"] / own["old_ms"], 4), "same_file": old[0] == new[0], "processes": counts}
    if min(counts) < LEAST:
        reason = f"{counts[0]} and {counts[1]} processes; {LEAST} a side are needed to tell"
        return {**own, "verdict": "few", "reason": reason}
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(old[1], new[1], alternative="two-sided").pvalue)
    if p >= LEVEL:
        return {**own, "p": round(p, 5), "verdict": "alike", "reason": f"not significant (p {p:.2g})"}
    faster = own["ratio"] < 1
    return {**own, "p": round(p, 5), "verdict": "faster" if faster else "slower", "reason": f"p {p:.2g}"}


def write_comparison(new: Request, documents: tuple[Row, Row], found: Row) -> Path:
    path = new.root / "compare.json"
    write_text(path, dump_json({"schema": 1, "old": documents[0], "new": documents[1], **found}))
    return path


def conclude_compare(found: Mapping[str, Any], gate: float | None) -> str:
    """The reason line; raises BudgetBroken where an entry is significantly slower by more than `gate` percent, and
    NothingJudged where no entry has enough processes on both sides."""
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    told = [row for row in rows if row["verdict"] in ("faster", "slower", "alike")]
    if not told:
        reasons = sorted({row["reason"] for row in rows}) or ["neither side timed anything"]
        raise NothingJudged(f"nothing can be compared: {'; '.join(reasons)}")
    slower = [row for row in told if row["verdict"] == "slower"]
    if gate is not None:
        over = [row for row in slower if row["ratio"] > 1 + gate / 100]
        if over:
            worst = max(over, key=lambda row: float(row["ratio"]))
            name = f"{worst['target'] or 'the reference'} {worst['recipe']} {worst['entry']} in {worst['runtime']}"
            raise BudgetBroken(
                f"{name} is {worst['ratio'] - 1:.1%} slower ({worst['old_ms']:.2f} to {worst['new_ms']:.2f} ms, "
                f"p {worst['p']:.2g}), above the gate of {gate:g} % ({len(over)} of {len(told)} entries)"
            )
        missing = [row for row in rows if row["verdict"] == "few"]
        if missing:
            raise NothingJudged(f"{len(missing)} entries cannot pass the gate: {missing[0]['reason']}")
    kinds = ("faster", "slower", "alike", "few", "alone")
    counts = {kind: sum(row["verdict"] == kind for row in rows) for kind in kinds}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
