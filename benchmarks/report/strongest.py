"""For every artifact the strongest evidence at hand, what would strengthen it, and the command that would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.evidence.row import Row
from benchmarks.report.gather import Gathered, State
from hydramobile.targets import EvidenceStep, target_info

# Nearest to a user's phone first. An emulator runs the phone's own code, a browser the web's; this computer's native
# runtime is neither.
NUMBERS = ("measured-on-device", "emulated-arm", "browser-host", "host", "interpreted", "static")
# A time is a time only where something ran; instructions are counted work.
TIMES = ("measured-on-device", "browser-host", "host", "instruction-proxy", "static")


@dataclass(frozen=True, slots=True)
class Strength:
    """The strongest label of some evidence, empty where there is none, and the runtimes that gave it."""

    label: str = ""
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StrengthLine:
    """The strongest evidence of one artifact's numbers and times, the steps above it, and what no command can do."""

    target: str
    recipe: str
    state: State
    numbers: Strength
    times: Strength
    steps: Sequence[EvidenceStep]
    beyond: str


def strength_lines(evidence: Gathered) -> list[StrengthLine]:
    """Return one line per artifact on disk."""
    lines = []
    for verdict in evidence.verdicts:
        if verdict.pair not in evidence.artifacts:
            continue
        judged = [(str(row.evidence), row.runtime) for row in evidence.judged(*verdict.pair)]
        timed = [(str(row.evidence), row.runtime) for row in measured(evidence, verdict.pair)]
        static = [("static", "size")] if evidence.size(*verdict.pair) else []
        numbers, times = best(NUMBERS, judged or static), best(TIMES, timed)
        steps = steps_above(verdict.target, numbers.label, times.label)
        beyond = target_info(verdict.target).beyond
        lines.append(StrengthLine(verdict.target, verdict.recipe, verdict.state, numbers, times, steps, beyond))
    return lines


def measured(evidence: Gathered, pair: tuple[str, str]) -> list[Row]:
    """Return the rows that hold times of an artifact as it lies on disk."""
    rows: list[Row] = [row for row in evidence.latencies if row.verdict == "measured"]
    rows += [row for row in evidence.grids if row.verdict == "measured"]
    rows += [row for row in evidence.devices if row.verdict == "measured"]
    return [row for row in rows if row.pair == pair and not evidence.stale(row)]


def best(order: tuple[str, ...], found: Iterable[tuple[str, str]]) -> Strength:
    """Return the strongest of (label, runtime)."""
    known = [(label, runtime) for label, runtime in found if label in order]
    if not known:
        return Strength()
    strongest = min((label for label, _ in known), key=order.index)
    return Strength(strongest, tuple(sorted({runtime for label, runtime in known if label == strongest})))


def steps_above(target: str, numbers: str, times: str) -> list[EvidenceStep]:
    """Return the steps of `target` that are stronger than the label of its numbers, or for a device of its times."""
    have = NUMBERS.index(numbers) if numbers else len(NUMBERS)
    device = "measured-on-device"
    return [
        step
        for step in target_info(target).steps
        if NUMBERS.index(step.label) < have or (step.label == device and times != device)
    ]
