"""The gate on instructions: compare counts with the model's reviewed baseline (`instructions.json` in its folder)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence.instructions import InstructionEvidence, InstructionRow
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.spec import ModelSpec

FILE = "instructions.json"
# The rise of the total, in percent, above which a count is a regression.
GATE = 1.0
# key -> entry -> instructions by class.
Counts = dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Change:
    """One entry against the baseline. `change` of the total is in percent, None without a baseline."""

    key: str
    entry: str
    total: int
    change: float | None
    reason: str = ""


def key_of(row: InstructionRow) -> str:
    """Return the key of a row in the baseline: target, recipe, emulated processor, and the library's version."""
    version = " ".join(f"{name} {value}" for name, value in sorted(row.runtime_version.items()))
    return f"{row.target}/{row.recipe} in {row.runtime} ({version})"


def baseline_path(spec: ModelSpec) -> Path:
    return spec.folder / FILE


def read_counts(path: Path) -> Counts:
    """Read the counts of a baseline; empty if there is no file."""
    if not path.is_file():
        return {}
    counts: Counts = read_json(path, "baseline")["counts"]
    return counts


def write_baseline(spec: ModelSpec, evidence: InstructionEvidence) -> Path:
    """Write the counts to the model's baseline and return its path; keys that were not counted are kept."""
    path = baseline_path(spec)
    fresh = {
        key_of(row): {entry.entry: dict(entry.counts) for entry in row.entries}
        for row in evidence.results
        if row.verdict == "counted"
    }
    if not fresh:
        raise NothingJudged("nothing was counted, so the baseline stays as it is")
    counts = {**read_counts(path), **fresh}
    content = {
        "about": "ARM instructions per inference, reviewed; `python -m benchmarks instructions --update` renews it",
        "weights_sha256": spec.weights_sha256,
        "counts": {key: counts[key] for key in sorted(counts)},
    }
    write_text(path, dump_json(content))
    return path


def compare(spec: ModelSpec, evidence: InstructionEvidence) -> list[Change]:
    """Compare every counted entry with the model's baseline.

    Counts hardly depend on the values of weights, so the baseline also applies to other weights.
    """
    path = baseline_path(spec)
    known = read_counts(path)
    changes = []
    for row in (row for row in evidence.results if row.verdict == "counted"):
        key = key_of(row)
        for entry in row.entries:
            total, old = entry.counts["total"], known.get(key, {}).get(entry.entry)
            if old is None:
                reason = f"there is no baseline for {key}" if path.is_file() else f"there is no baseline {path}"
                changes.append(Change(key, entry.entry, total, None, reason))
                continue
            change = 100 * (total / old["total"] - 1)
            changes.append(Change(key, entry.entry, total, change, largest_change(old, entry.counts)))
    return changes


def largest_change(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    """Name the instruction class with the largest change, as a share of the old total."""
    changes = {name: (new.get(name, 0) - old.get(name, 0)) / old["total"] for name in new if name != "total"}
    name = max(changes, key=lambda item: abs(changes[item]))
    return f"most of it in {name} ({changes[name]:+.1%} of the total)" if abs(changes[name]) > 0.001 else ""


def conclude_instructions(spec: ModelSpec, evidence: InstructionEvidence, gate: float = GATE) -> str:
    """Return the reason line of a pass.

    Raises StageError for a failed row, BudgetBroken for a regression, NothingJudged if nothing was counted or no
    counted entry has a baseline.
    """
    rows = evidence.results
    bad = [row for row in rows if row.verdict == "failed"]
    if bad:
        raise StageError("count", f"{bad[0].target} {bad[0].recipe} in {bad[0].runtime}: {bad[0].reason}")
    changes = compare(spec, evidence)
    if not changes:
        reason = next((row.reason for row in rows if row.reason), "no emulated runtime runs these artifacts")
        raise NothingJudged(f"nothing was counted: {reason}")
    judged = [(change, change.change) for change in changes if change.change is not None]
    if not judged:
        raise NothingJudged(f"{changes[0].reason}; make it with: python -m benchmarks instructions --update")
    worst, most = max(judged, key=lambda pair: pair[1])
    if most > gate:
        where = f"{worst.key}, {worst.entry}"
        same = read_json(baseline_path(spec), "baseline")["weights_sha256"] == spec.weights_sha256
        old = "" if same else "; the baseline is of other weights: if the net has changed, renew it with --update"
        raise BudgetBroken(f"{where}: {most:+.2f} % instructions, over the gate of {gate:g} %; {worst.reason}{old}")
    new = f", {len(changes) - len(judged)} without a baseline" if len(judged) < len(changes) else ""
    return f"{len(judged)} entries within {gate:g} % of the baseline (worst {most:+.3f} %){new}"
