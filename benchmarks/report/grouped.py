"""Rows of tables that hold for several artifacts: each reason is printed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.report.gather import Verdict
from benchmarks.report.judged import Refusal, Undone, VerdictLine

# Names of artifacts by target: (target, recipes).
Names = Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class VerdictGroup:
    """A line of the verdicts; artifacts that nothing judged and that share a state and its reason are one line.

    `must` says whether they must ship: "yes", "no", or how many of them. `single` is False for a line of several, whose
    sizes only the size table has.
    """

    line: VerdictLine
    names: Names
    must: str
    single: bool


@dataclass(frozen=True, slots=True)
class RefusalGroup:
    """A refusal; artifacts that were refused without a broken limit, for the same reason, are one."""

    refusal: Refusal
    names: Names


@dataclass(frozen=True, slots=True)
class UndoneGroup:
    """A reason why something was not done, and the steps that it stopped: (step, artifacts)."""

    state: str
    reason: str
    steps: Sequence[tuple[str, Sequence[str]]]


def verdict_groups(lines: Iterable[VerdictLine]) -> list[VerdictGroup]:
    """Return the lines of the verdicts, each at the place of its first artifact."""
    groups: dict[tuple[str, ...], list[VerdictLine]] = {}
    for line in lines:
        verdict = line.verdict
        own = () if line.deciding is None and not line.runtimes else (verdict.name,)
        groups.setdefault((verdict.state, verdict.reason, *own), []).append(line)
    return [
        VerdictGroup(own[0], names(verdicts), required(verdicts), len(verdicts) == 1)
        for own in groups.values()
        for verdicts in ([line.verdict for line in own],)
    ]


def refusal_groups(refusals: Iterable[Refusal]) -> list[RefusalGroup]:
    """Return the refusals, each at the place of its first artifact."""
    groups: dict[tuple[str, ...], list[Refusal]] = {}
    for refusal in refusals:
        verdict = refusal.verdict
        own = (verdict.name,) if refusal.broken or refusal.size else ()
        groups.setdefault((verdict.state, verdict.reason, *own), []).append(refusal)
    return [RefusalGroup(own[0], names(refusal.verdict for refusal in own)) for own in groups.values()]


def undone_groups(undone: Iterable[Undone]) -> list[UndoneGroup]:
    """Return each reason once, with everything that was not done for it."""
    groups: dict[tuple[str, str], list[tuple[str, Sequence[str]]]] = {}
    for item in undone:
        groups.setdefault((item.state, item.reason), []).append((item.what, item.artifacts))
    return [UndoneGroup(state, reason, steps) for (state, reason), steps in groups.items()]


def names(verdicts: Iterable[Verdict]) -> Names:
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.target, []).append(verdict.recipe)
    return list(found.items())


def required(verdicts: Sequence[Verdict]) -> str:
    must = sum(verdict.ship for verdict in verdicts)
    return "yes" if must == len(verdicts) else f"{must} of {len(verdicts)}" if must else "no"
