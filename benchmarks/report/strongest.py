"""For every artifact the strongest evidence at hand, what would strengthen it, and the command that would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.report.gather import Evidence

Row = dict[str, Any]

# Nearest to a user's phone first. An emulator runs the phone's own code, a browser the web's; this computer's native
# runtime is neither.
NUMBERS = ("measured-on-device", "emulated-arm", "browser-host", "host", "interpreted", "static")
# A time is a time only where something ran; instructions are counted work.
TIMES = ("measured-on-device", "browser-host", "host", "instruction-proxy", "static")


@dataclass(frozen=True, slots=True)
class Step:
    """What evidence of `label` would add, and the command that gathers it."""

    label: str
    adds: str
    command: str


ARM = Step("emulated-arm", "the numbers of the phone's own ARM kernels, in an emulator", "make parity-arm")
PAGE = Step(
    "measured-on-device",
    "numbers and times in a phone's own browser, on a page it opens",
    "python -m benchmarks latency --runtime browser --serve",
)
STEPS: Mapping[str, tuple[Step, ...]] = {
    "litert": (
        Step("host", "numbers of the real interpreter on this computer", "make parity"),
        ARM,
        Step(
            "measured-on-device",
            "numbers, times and placement on an Android phone attached by USB",
            "make bench-android TOOL=path/to/benchmark_model",
        ),
    ),
    "onnx": (
        Step("host", "numbers of the real runtime on this computer", "make parity"),
        Step("browser-host", "numbers of the web build in a browser (needs Chromium)", "make parity"),
        ARM,
        PAGE,
    ),
    "tfjs": (
        Step("host", "numbers of TF.js in Node", "make parity"),
        Step("browser-host", "numbers of TF.js in a browser (needs Chromium)", "make parity"),
        PAGE,
    ),
    "coreml": (
        Step("interpreted", "the file's weights, layout and arithmetic", "make parity"),
        Step("host", "numbers and times of Core ML itself (on a Mac)", "make parity bench"),
        Step(
            "measured-on-device",
            "numbers, times and placement on an iPhone attached to a Mac",
            "make bench-ios",
        ),
    ),
    "coreai": (
        Step(
            "interpreted", "numbers of Core AI's own interpreter (installed by scripts/setup.sh coreai)", "make parity"
        ),
    ),
}
NOTHING_MORE = {
    "coreai": "a device with Core AI: no command of this project drives one yet",
}


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
                "beyond": NOTHING_MORE.get(verdict.target, ""),
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
        for step in STEPS.get(target, ())
        if NUMBERS.index(step.label) < have or (step.label == "measured-on-device" and not on_device)
    ]
