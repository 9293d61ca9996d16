"""The process that measures one artifact on an attached device: every configuration, then a profile."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.latency.worker import values
from benchmarks.parity.bisect import Tracer, compare_traces
from benchmarks.profile.run import entry_row
from benchmarks.runtime import load_runtime
from hydramobile.artifact import Entry, read_artifact, verify
from hydramobile.errors import HydraError
from hydramobile.goldens import load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

Row = dict[str, Any]
# Seconds a device may take to cool down to no throttling before it is measured as it is; how often it is asked.
COOLED, ASK = 300.0, 5.0
# What reads the same files on any machine; a device that shows its tensors tells how faithful it is.
EVALUATOR = "coreml-mil"
EMULATED = "an emulator's time says nothing"


def main() -> None:
    job, stream = receive(sys.argv[1:])
    with stream:
        runtime: Any = load_runtime(job["runtime"])
        row: Row = {"evidence": runtime.evidence}
        try:
            row |= measure(runtime, Path(job["folder"]), job, lambda text: send(stream, event="stage", text=text))
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, told with its name
            traceback.print_exc()
            row |= {"verdict": "failed", "reason": reason_of(error)}
        row["left_and_removed"] = runtime.clean()
        send(stream, event="result", row=row)


def reason_of(error: Exception) -> str:
    return str(error) if isinstance(error, HydraError) else f"{type(error).__name__}: {error}"


def measure(runtime: Any, folder: Path, job: Row, say: Callable[[str], None]) -> Row:
    artifact = read_artifact(folder)
    verify(folder, artifact)
    device = runtime.device()
    row: Row = {
        "verdict": "untimed" if device["emulator"] else "measured",
        "reason": EMULATED if device["emulator"] else "",
        "device": device,
        "runtime_version": runtime.version(),
        "configurations": [],
        "profile": [],
    }
    entries = [entry for entry in artifact.entries if not entry.variant]
    for index, name in enumerate(runtime.configurations):
        say(name)
        if index:
            cool(runtime, job["cool"], say)
        row["configurations"].append(timed(runtime, folder, entries, (name, job["seconds"])))
    for entry in entries:
        say(f"profile {entry.id}")
        try:
            row["profile"].append(entry_row(entry, runtime.operators(folder, entry)))
        except HydraError as error:
            row["profile"].append({"entry": entry.id, "reason": str(error)})
    row |= compared(runtime, folder, entries, job)
    if not any("mean_ms" in entry for found in row["configurations"] for entry in found["entries"]):
        reason = next((e["reason"] for found in row["configurations"] for e in found["entries"]), "nothing was run")
        row |= {"verdict": "failed", "reason": reason}
    return row


def compared(runtime: Any, folder: Path, entries: list[Entry], job: Row) -> Row:
    """Where the device's runtime shows its tensors (Core ML): our evaluator of the same file against it, operator by
    operator, and the operators on which Core ML's own processors disagree."""
    if not isinstance(runtime, Tracer):
        return {}
    entry = max(entries, key=lambda item: len(item.modules))
    try:
        spec = load_spec(Path(job["model"]))
        golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
        inputs = values(golden, [port.name for port in entry.inputs])
        evaluator: Any = load_runtime(EVALUATOR)
        real, ours = runtime.trace(folder, entry, inputs), evaluator.trace(folder, entry, inputs)
        suspects = getattr(runtime, "disagreements", None)
        found = {"entry": entry.id, "evaluator": EVALUATOR, **compare_traces(ours, real)}
        return {"evaluator": {**found, "processors_disagree": suspects(folder, entry, inputs) if suspects else []}}
    except HydraError as error:
        return {"evaluator": {"entry": entry.id, "reason": str(error)}}


def timed(runtime: Any, folder: Path, entries: list[Entry], how: tuple[str, float]) -> Row:
    """One configuration: every entry, between two looks at how warm the device is."""
    before, rows = ask(runtime), []
    for entry in entries:
        own = {"entry": entry.id, "modules": list(entry.modules)}
        try:
            rows.append({**own, **runtime.measure(folder, entry, *how)})
        except HydraError as error:
            rows.append({**own, "reason": str(error)})
    return {"configuration": how[0], "before": before, "entries": rows, "after": ask(runtime)}


def ask(runtime: Any) -> Row:
    """The device's condition, or why it gave none."""
    try:
        found: Row = runtime.condition()
    except HydraError as error:
        return {"reason": str(error)}
    return found


def cool(runtime: Any, least: float, say: Callable[[str], None]) -> None:
    """Rest for `least` seconds, and on until the device no longer throttles."""
    time.sleep(least)
    end = time.monotonic() + COOLED
    while (ask(runtime).get("thermal_status") or 0) > 0 and time.monotonic() < end:
        say("cooling down")
        time.sleep(ASK)


if __name__ == "__main__":
    main()
