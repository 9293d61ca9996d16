"""Find the choices that may serve a build, verify them, and choose the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from export.search.builds import Build
from export.search.solve import Choice, path, smallest, within_bytes
from export.search.state import State
from export.search.trial import MARGIN, Trial, pick
from export.search.verify import verify
from hydramobile.errors import UsageError
from hydramobile.files import canonical_json

# Rounds of solving anew with the verified losses: outputs are weighted by how far they were over their limits.
ROUNDS = 3
# Share of a size limit that is kept free: scales and alignment differ a little from the computed sizes.
SPARE = 0.004
Solver = Callable[[State, str, Build, Mapping[str, float]], Choice]


def solve(state: State, target: str, build: Build) -> None:
    """Verify the choices that may serve the build: the smallest within its losses, or the least noise in its size.

    Raises UsageError for a size that no choice reaches.
    """
    if build.shrinks(target):
        refine(state, target, build, smallest_within)
        best = choose(state, target, build)
        if best is not None and best.excess(build) <= MARGIN:
            return
    if target in build.sizes:
        refine(state, target, build, least_noise)


def refine(state: State, target: str, build: Build, solver: Solver) -> None:
    """Verify the choice of `solver`, and solve again with outputs weighted by how far they are over their limits."""
    weights = dict.fromkeys(state.bench.program.final(), 1.0)
    for _ in range(ROUNDS):
        trial = verify(state, target, build, solver(state, target, build, weights))
        if trial.excess(build) <= 1 or len(weights) == 1:
            break
        for name, loss in trial.losses.items():
            weights[name] *= max(loss.mean / build.mean, loss.worst / build.worst, 1e-3)


def least_noise(state: State, target: str, build: Build, weights: Mapping[str, float]) -> Choice:
    """Return the choice of least noise within the build's size. Raises UsageError where even the smallest is larger."""
    limit = build.sizes[target]
    choice = within_bytes(state.tables[target], weights, room(target, build) - state.overhead[target])
    if choice is None:
        least = verify(state, target, build, smallest(state.tables[target]))
        lost = ", ".join(f"{name} {loss.mean:.2%} ({loss.worst:.2%} worst)" for name, loss in least.losses.items())
        raise UsageError(
            f"{build.name} cannot be {limit / 1e6:g} MB for {target}: the smallest is {least.bytes / 1e6:.2f} MB, "
            f"which loses {lost}"
        )
    return choice


def smallest_within(state: State, target: str, build: Build, weights: Mapping[str, float]) -> Choice:
    """Return the smallest choice on the path of prices whose losses are within the build's, found by bisection."""
    choices = path(state.tables[target], weights)
    low, high = 0, len(choices) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if verify(state, target, build, choices[middle]).excess(build) <= MARGIN:
            low = middle
        else:
            high = middle - 1
    return choices[low]


def room(target: str, build: Build) -> float:
    """Return the most bytes that a build may have by the computed sizes."""
    return build.sizes[target] * (1 - SPARE) if target in build.sizes else math.inf


def standing_trials(state: State, target: str) -> list[Trial]:
    """Return the trials of a target with sizes by the current overhead, without options that an export refused."""
    table = {name: {option.recipe: option for option in options} for name, options in state.tables[target].items()}
    trials = {canonical_json(trial.choice): trial for trial in state.trials if trial.target == target}
    return [
        replace(trial, bytes=state.size(target, {name: table[name][text] for name, text in trial.choice.items()}))
        for trial in trials.values()
        if all(text in table[name] for name, text in trial.choice.items())
    ]


def choose(state: State, target: str, build: Build) -> Trial | None:
    """Return the best trial for a build, whichever build it was verified for."""
    best = pick(standing_trials(state, target), build, build.shrinks(target), room(target, build))
    return replace(best, build=build.name) if best else None
