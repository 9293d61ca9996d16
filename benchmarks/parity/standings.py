"""Where each artifact stands after all its rows, and what that means for the command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.runtime import forced
from hydramobile.budget import Budget, load_budget
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.spec import ModelSpec

State = Literal["ships", "passes", "refused", "broken", "failed", "unjudged"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one artifact stands after all its rows. `ship`: the budget says that it must ship."""

    target: str
    recipe: str
    ship: bool
    state: State
    reason: str


def standings(budget: Budget, rows: Iterable[ParityRow]) -> list[Standing]:
    """Return one Standing per target x recipe, sorted.

    A refused candidate is no failure; a broken recipe that must ship is. A limit that a file breaks only where an app
    has to ask for the arithmetic (`forced`) is said and moves nothing: it is not how the file ships.
    """
    grouped: dict[tuple[str, str], list[ParityRow]] = {}
    for row in rows:
        grouped.setdefault(row.pair, []).append(row)
    return [standing_of(budget, pair, own) for pair, own in sorted(grouped.items())]


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
    elif not any(row.measures for row in rows if row.verdict == "pass"):
        state, reason = "unjudged", next((row.reason for row in rows if row.reason), "no runtime judged it")
    elif mismatches:
        reason = f"but not where an app forces it: {explain(mismatches[0])}"
    return Standing(target, recipe, ship, state, reason)


def explain(row: ParityRow) -> str:
    return f"{row.where}: {row.reason}" if row.where else row.reason


def conclude(spec: ModelSpec, evidence: ParityEvidence, asked: Sequence[str] = ()) -> str:
    """Return the reason line of a pass; raise with the exit code of the worst standing.

    Runtimes that were `asked` for by name and are all unavailable judged nothing, whatever others found before.
    """
    own = [row for row in evidence.results if row.runtime in asked]
    if own and all(row.verdict == "unavailable" for row in own):
        raise NothingJudged(f"{own[0].runtime} is unavailable: {own[0].reason}")
    found = standings(load_budget(spec), evidence.results)
    if not found:
        raise NothingJudged("none of the chosen runtimes runs any of these artifacts; a comparison of nothing fails")
    for state, error in (("failed", None), ("broken", BudgetBroken), ("unjudged", NothingJudged)):
        bad = [standing for standing in found if standing.state == state]
        if bad:
            text = f"{bad[0].target} {bad[0].recipe}: {bad[0].reason} ({len(bad)} of {len(found)} artifacts {state})"
            raise error(text) if error else StageError("parity", text)
    refused = sum(standing.state == "refused" for standing in found)
    return f"{len(found) - refused} artifacts agree with the reference" + (f", {refused} refused" if refused else "")
