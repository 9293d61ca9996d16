"""Export the chosen builds, weigh their files, and learn from refusals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from export.driver import Outcome, plan_export, run_plan
from export.search.state import Pair, State
from export.search.trial import Trial
from hydramobile.artifact import artifact_folder, read_artifact, ships
from hydramobile.errors import StageError
from hydramobile.spec import ModelSpec

GOOD = ("exported", "up to date")


def export_builds(state: State) -> dict[tuple[str, str], Outcome]:
    """Export all builds, and return the exports that failed, by target and build."""
    request = state.request
    names = [build.name for build in request.builds]
    plan = plan_export(request.spec, request.targets, names, request.out, True, request.photos)
    outcomes = run_plan(plan, quiet)
    return {(outcome.target, outcome.recipe): outcome for outcome in outcomes if outcome.state not in GOOD}


def drop_refused(state: State, trial: Trial, failed: Outcome) -> bool:
    """Drop the options that an export refused from the tables, so that the next best choice is solved for.

    They are the options of the layers that the refusal names. Return whether any was dropped: a failure that names no
    layer, such as a full disk, is not a matter of bits.
    """
    table, choice, dropped = state.tables[trial.target], trial.choice, False
    for name in layers_named(failed.reason, table):
        left = [option for option in table[name] if option.recipe != choice[name]]
        if left and len(left) < len(table[name]):
            table[name], dropped = left, True
    return dropped


def oversized(
    state: State, chosen: Mapping[tuple[str, str], Trial], failed: Mapping[tuple[str, str], Outcome]
) -> list[Pair]:
    """Return the builds whose files are over their size, and correct the overheads of their targets by the excess."""
    pairs = []
    for target, build in state.request.pairs():
        if (target, build.name) in failed:
            continue
        trial, limit = chosen[target, build.name], build.sizes.get(target)
        real = shipped_bytes(state.request.spec, state.request.out, target, build.name)
        if limit and real > limit:
            state.overhead[target] += max(real - trial.bytes, 0.0)
            pairs.append((target, build))
    return pairs


def with_exported_size(state: State, trial: Trial) -> Trial:
    """Return the chosen trial with the size of its files on disk."""
    real = shipped_bytes(state.request.spec, state.request.out, trial.target, trial.build)
    return replace(trial, bytes=real, chosen=True, exported=real)


def layers_named(reason: str, names: Iterable[str]) -> list[str]:
    """Return the layers that an error names; "a.b.c" does not name the layer "a.b"."""
    return [name for name in names if re.search(rf"(?<![\w.]){re.escape(name)}(?!\.?\w)", reason)]


def check_exported(outcomes: Sequence[Outcome]) -> None:
    """Raise StageError for an export that failed."""
    for outcome in outcomes:
        if outcome.state not in GOOD:
            raise StageError(outcome.stage or "export", f"{outcome.target} {outcome.recipe}: {outcome.reason}")


def shipped_bytes(spec: ModelSpec, out: Path, target: str, name: str) -> int:
    """Return the bytes that one app ships of an artifact."""
    return sum(record.bytes for record in ships(read_artifact(artifact_folder(out, spec.name, target, name))))


def quiet(target: str, text: str) -> None:
    """Show no progress: the search has a display of its own."""
