"""The rows of `ship`: one per file, with size, verdict, distance from the nearest limit, and the next step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydramobile.artifact import artifact_folder, read_artifact, ships
from hydramobile.budget import Budget
from hydramobile.errors import BudgetBroken, HydraError, NothingJudged, StageError
from hydramobile.limits import share_of_limit
from hydramobile.targets import BUNDLED, target_info

PASS, REFUSED, BROKEN, FAILED, UNJUDGED = "pass", "refused", "broken", "failed", "unjudged"


@dataclass(frozen=True, slots=True)
class ShipRow:
    """One artifact. `recipes` holds several recipes where all of them failed for the same reason.

    `limit` says how far the file is from its nearest limit, or which limit it broke. `figures` holds the worst err_sens
    and snr_db, `seconds` the time of the export.
    """

    target: str
    recipes: tuple[str, ...]
    must: bool
    verdict: str = UNJUDGED
    file: str = ""
    megabytes: float = 0.0
    limit: str = ""
    next: str = ""
    stage: str = ""
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)


def exported_row(outcome: Mapping[str, Any], budget: Budget, out: Path, model: str) -> ShipRow:
    """Return the row of an outcome of `export`."""
    target, recipe = outcome["target"], outcome["recipe"].rpartition(":")[2]
    row = ShipRow(target, (recipe,), recipe in budget.ship.get(target, ()), seconds=outcome["seconds"])
    if outcome["state"] not in ("exported", "up to date"):
        verdict = FAILED if outcome["state"] == "failed" else REFUSED
        return replace(row, verdict=verdict, limit=outcome["reason"], stage=outcome["stage"] or outcome["state"])
    folder = artifact_folder(out, model, target, recipe)
    try:
        artifact = read_artifact(folder)
    except StageError as error:
        return replace(row, verdict=FAILED, limit=error.message, stage=error.stage)
    primary = next((entry for entry in artifact.entries if not entry.variant), artifact.entries[0])
    size = sum(record.bytes for record in ships(artifact)) / 1e6
    return replace(row, file=str(folder / primary.file), megabytes=size)


def judged_row(row: ShipRow, results: Iterable[Mapping[str, Any]], where: str) -> ShipRow:
    """Return the row with the verdict of parity's `results`."""
    own = [item for item in results if (item["target"], item["recipe"]) == (row.target, row.recipes[0])]
    bad = [item for item in own if item["verdict"] in ("mismatch", "failed")]
    measured = [item for item in own if item["verdict"] == "pass" and item["measures"]]
    row = replace(row, figures=worst_figures(own))
    if bad:
        verdict = BROKEN if row.must else REFUSED
        place = " ".join(filter(None, (bad[0]["runtime"], bad[0]["entry"], bad[0]["mode"], bad[0]["stage"])))
        bisect = f"hydra-mobile parity {where} --only {row.target}/{row.recipes[0]} --bisect names the first layer"
        return replace(row, verdict=verdict, limit=f"{place}: {bad[0]['reason']}", next=bisect)
    if not measured:
        reasons = [item["reason"] for item in own if item["reason"]]
        return replace(row, limit=reasons[0] if reasons else "no runtime ran it", next="hydra-mobile doctor")
    return replace(row, verdict=PASS, limit=nearest(measured), next=into_the_app(row))


def into_the_app(row: ShipRow) -> str:
    """Return how this file gets into an app. `bundle_lines` has the whole commands."""
    platform = target_info(row.target).platform
    return f"bundle {platform}" if platform in BUNDLED else "USAGE.md beside it"


def bundle_lines(rows: Iterable[ShipRow], where: str) -> list[str]:
    """Return the command that makes a package for apps, per platform that has a file that passed."""
    passed = [target_info(row.target).platform for row in rows if row.verdict == PASS]
    return [
        f"into the app: hydra-mobile bundle {platform} {where}"
        for platform in dict.fromkeys(passed)
        if platform in BUNDLED
    ]


def worst_figures(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the largest err_sens and the least snr_db of all results, where they are finite."""
    figures: dict[str, float] = {}
    for metric, worst in (("err_sens", max), ("snr_db", min)):
        values = [float(m["value"]) for item in results for m in item["measures"] if m["metric"] == metric]
        if finite := list(filter(math.isfinite, values)):
            figures[metric] = worst(finite)
    return figures


def nearest(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the measure that uses the greatest share of its limit."""
    found = [
        (share(measure), measure) for item in results for measure in item["measures"] if measure["limit"] is not None
    ]
    if not found:
        return "no limit"
    used, tight = max(found, key=lambda pair: pair[0])
    name = f"{tight['output']} {tight['metric']} {tight['value']:.2g} (limit {tight['limit']:g})"
    return f"{used:.0%} of its limit: {name}" if used >= 0.005 else f"under 1% of its limit: {name}"


def share(measure: Mapping[str, Any]) -> float:
    """Return how much of its limit a measure uses: 1 is at the limit."""
    return share_of_limit(measure["metric"], float(measure["value"]), float(measure["limit"]))


def merged(rows: Sequence[ShipRow]) -> list[ShipRow]:
    """Join rows of one target that failed in the same stage for the same reason."""
    result: list[ShipRow] = []
    for row in rows:
        same = next(
            (
                index
                for index, other in enumerate(result)
                if row.verdict in (FAILED, REFUSED)
                and not row.file
                and (other.target, other.verdict, other.stage, other.limit)
                == (row.target, row.verdict, row.stage, row.limit)
            ),
            None,
        )
        if same is None:
            result.append(row)
        else:
            other = result[same]
            result[same] = replace(other, recipes=(*other.recipes, *row.recipes), must=other.must or row.must)
    return result


def conclude(rows: Sequence[ShipRow]) -> str:
    """Return the reason of a pass.

    Raises StageError where a file could not be made, BudgetBroken where one that must ship broke a limit, NothingJudged
    where none was judged.
    """
    failed = [row for row in rows if row.verdict == FAILED]
    broken = [row for row in rows if row.verdict == BROKEN]
    passed = [row for row in rows if row.verdict == PASS]
    error: HydraError | None = None
    if failed:
        row = failed[0]
        error = StageError(row.stage, f"{row.target} {', '.join(row.recipes)}: {row.limit}")
    elif broken:
        error = BudgetBroken(f"{broken[0].target} {broken[0].recipes[0]}: {broken[0].limit}")
    elif not passed:
        error = NothingJudged("no file was judged: " + "; ".join(f"{row.target}: {row.limit}" for row in rows))
    if error:
        raise error
    rest = [row for row in rows if row.verdict != PASS]
    return f"{len(passed)} files may ship" + (f", {len(rest)} may not" if rest else "")
