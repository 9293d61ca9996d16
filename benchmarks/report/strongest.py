"""The strongest evidence of every artifact, and the commands that would give stronger evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.evidence.row import Row
from benchmarks.report.gather import Gathered, State
from hydramobile.targets import EvidenceStep, target_info

# Labels of numbers, closest to a user's phone first. An emulator runs a phone's kernels and a browser the web's, but
# the native runtime of this computer runs neither.
NUMBERS = ("measured-on-device", "emulated-arm", "browser-host", "host", "interpreted", "static")
# Labels of times, strongest first. Instructions are counted work and not time.
TIMES = ("measured-on-device", "browser-host", "host", "instruction-proxy", "static")


@dataclass(frozen=True, slots=True)
class Strength:
    """The strongest evidence label, "" without evidence, and the runtimes that gave it."""

    label: str = ""
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StrengthLine:
    """The strongest evidence of one artifact's numbers and times.

    `steps` are the commands that would give stronger evidence. `beyond` is evidence that no command can give.
    """

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
    """Return the rows that hold times of the artifact on disk."""
    rows: list[Row] = [row for row in evidence.latencies if row.verdict == "measured"]
    rows += [row for row in evidence.grids if row.verdict == "measured"]
    rows += [row for row in evidence.devices if row.verdict == "measured"]
    return [row for row in rows if row.pair == pair and not evidence.stale(row)]


def best(order: tuple[str, ...], found: Iterable[tuple[str, str]]) -> Strength:
    """Return the strongest of (label, runtime) pairs; `order` ranks the labels, strongest first."""
    known = [(label, runtime) for label, runtime in found if label in order]
    if not known:
        return Strength()
    strongest = min((label for label, _ in known), key=order.index)
    return Strength(strongest, tuple(sorted({runtime for label, runtime in known if label == strongest})))


def steps_above(target: str, numbers: str, times: str) -> list[EvidenceStep]:
    """Return the steps of `target` that would improve on the labels of its numbers and times.

    A step improves if its label is stronger than `numbers`, or if it measures on a device and `times` does not.
    """
    have = NUMBERS.index(numbers) if numbers else len(NUMBERS)
    device = "measured-on-device"
    return [
        step
        for step in target_info(target).steps
        if NUMBERS.index(step.label) < have or (step.label == device and times != device)
    ]
