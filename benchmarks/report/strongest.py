"""For every artifact the strongest evidence at hand, what would strengthen it, and the command that would."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.report.gather import Evidence
from hydramobile.targets import target_info

Row = dict[str, Any]

# Nearest to a user's phone first. An emulator runs the phone's own code, a browser the web's; this computer's native
# runtime is neither.
NUMBERS = ("measured-on-device", "emulated-arm", "browser-host", "host", "interpreted", "static")
# A time is a time only where something ran; instructions are counted work.
TIMES = ("measured-on-device", "browser-host", "host", "instruction-proxy", "static")


def strongest_rows(evidence: Evidence) -> list[Row]:
    """A row an artifact on disk: the best label for its numbers and for its times, with the runtimes that gave it, and
    the steps above."""
    rows = []
    for verdict in evidence.verdicts:
        pair = (verdict.target, verdict.recipe)
        if pair not in evidence.artifacts:
            continue
        judged = [(row["evidence"], row["runtime"]) for row in evidence.judged(*pair)]
        timed = [(row["evidence"], row["runtime"]) for row in measured(evidence, pair)]
        static = [("static", "size")] if evidence.size(*pair) else []
        numbers, times = best(NUMBERS, judged or static), best(TIMES, timed)
        rows.append(
            {
                "target": verdict.target,
                "recipe": verdict.recipe,
                "state": verdict.state,
                "numbers": numbers,
                "times": times,
                "steps": steps_above(verdict.target, numbers["label"], times["label"]),
                "beyond": target_info(verdict.target).beyond,
            }
        )
    return rows


def measured(evidence: Evidence, pair: tuple[str, str]) -> list[Row]:
    rows = (*evidence.latencies, *evidence.grids, *evidence.devices)
    return [
        row
        for row in rows
        if (row["target"], row["recipe"]) == pair and row["verdict"] == "measured" and not row["stale"]
    ]


def best(order: tuple[str, ...], found: Iterable[tuple[str, str]]) -> Row:
    """{"label", "runtimes"} of the strongest label in `found`; an empty label where there is none."""
    known = [(label, runtime) for label, runtime in found if label in order]
    if not known:
        return {"label": "", "runtimes": []}
    label = min((label for label, _ in known), key=order.index)
    return {"label": label, "runtimes": sorted({runtime for other, runtime in known if other == label})}


def steps_above(target: str, numbers: str, times: str) -> list[Row]:
    """The steps of `target` that are stronger than what the numbers, or for a device the times, already have."""
    have = NUMBERS.index(numbers) if numbers else len(NUMBERS)
    on_device = "measured-on-device" in (times,)
    return [
        {"label": step.label, "adds": step.adds, "command": step.command}
        for step in target_info(target).steps
        if NUMBERS.index(step.label) < have or (step.label == "measured-on-device" and not on_device)
    ]
