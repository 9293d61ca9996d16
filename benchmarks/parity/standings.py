"""The standing of each artifact over all its rows of parity, and the result of the command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.evidence.envelope import read
from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.request import Request
from benchmarks.runtime import forced
from hydramobile.budget import Budget, load_budget
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.spec import ModelSpec

NONE = "none of the chosen runtimes runs any of these artifacts; a comparison of nothing fails"
State = Literal["ships", "passes", "refused", "broken", "failed", "unjudged"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one artifact over all its rows. `ship` says whether the budget requires it to ship."""

    target: str
    recipe: str
    ship: bool
    state: State
    reason: str


def standings(budget: Budget, rows: Iterable[ParityRow]) -> list[Standing]:
    """Return one Standing per target x recipe, sorted.

    A refused candidate is not a failure; a broken recipe that must ship is one. In a runtime whose arithmetic an app
    has to request (`forced`), a broken limit is noted in the reason and does not change the state: the file does not
    ship in this way.
    """
    grouped: dict[tuple[str, str], list[ParityRow]] = {}
    for row in rows:
        grouped.setdefault(row.pair, []).append(row)
    return [standing_of(budget, pair, own) for pair, own in sorted(grouped.items())]


def headline(spec: ModelSpec, root: Path) -> str:
    """Return how many artifacts pass by the stored parity.json in `root`, "" where none can be read."""
    try:
        every = standings(load_budget(spec), read(ParityEvidence, root / ParityEvidence.FILE).results)
    except StageError:
        return ""
    good = [standing for standing in every if standing.state in ("ships", "passes")]
    must, ship = sum(standing.ship for standing in every), sum(standing.ship for standing in good)
    shipped = f"{ship} that must ship ship" if ship == must else f"{ship} of {must} that must ship ship"
    return f"{spec.name}: {len(good)} of {len(every)} artifacts pass, {shipped}; "


def standing_of(budget: Budget, pair: tuple[str, str], rows: Sequence[ParityRow]) -> Standing:
    target, recipe = pair
    ship = recipe in budget.ship.get(target, ())
    failures = [row for row in rows if row.verdict == "failed"]
    mismatches = [row for row in rows if row.verdict == "mismatch"]
    shipped = [row for row in mismatches if not forced(row.runtime)]
    state: State = "ships" if ship else "passes"
    reason = ""
    if failures:
        state, reason = "failed", explain(failures[0])
    elif shipped:
        state, reason = ("broken" if ship else "refused"), explain(shipped[0])
    elif not any(row.measures for row in rows if row.verdict == "pass" and row.mode != "drawn"):
        state, reason = "unjudged", next((row.reason for row in rows if row.reason), "no runtime judged it")
    elif mismatches:
        reason = f"but not where an app forces it: {explain(mismatches[0])}"
    return Standing(target, recipe, ship, state, reason)


def nothing_compared(row: ParityRow) -> bool:
    return row.verdict == "pass" and not row.measures


def explain(row: ParityRow) -> str:
    return f"{row.where}: {row.reason}" if row.where else row.reason


def conclude(spec: ModelSpec, evidence: ParityEvidence, request: Request | None = None) -> str:
    """Return the reason line of a pass; raise with the exit code of the worst standing.

    If a partial request judged nothing (its runtimes are unavailable, or run none of its artifacts), the result is
    NothingJudged, whatever rows of earlier runs say.
    """
    if request and request.partial:
        asked = [row for row in evidence.results if request.covers(row)]
        if not asked:
            raise NothingJudged(NONE)
        absent = [row for row in asked if row.verdict == "unavailable"]
        # A size within its limit is a passing row, too, but it compares no output.
        if absent and all(row.verdict == "unavailable" or nothing_compared(row) for row in asked):
            raise NothingJudged(f"{absent[0].runtime} is unavailable: {absent[0].reason}")
    every = standings(load_budget(spec), evidence.results)
    if not every:
        raise NothingJudged(NONE)
    for state, error in (("failed", None), ("broken", BudgetBroken), ("unjudged", NothingJudged)):
        bad = [standing for standing in every if standing.state == state]
        if bad:
            text = f"{bad[0].target} {bad[0].recipe}: {bad[0].reason} ({len(bad)} of {len(every)} artifacts {state})"
            raise error(text) if error else StageError("parity", text)
    refused = sum(standing.state == "refused" for standing in every)
    return f"{len(every) - refused} artifacts agree with the reference" + (f", {refused} refused" if refused else "")
