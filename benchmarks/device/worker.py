"""Worker process: measure one artifact on an attached device in every configuration, then profile it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from benchmarks.evidence.device import (
    Condition,
    ConfigurationTimes,
    DeviceRow,
    EntryTimings,
    EvaluatorComparison,
)
from benchmarks.evidence.envelope import plain, typed
from benchmarks.evidence.profile import EntryProfile
from benchmarks.latency.subject import values
from benchmarks.optional import Comparator, DeviceRuntime, OnDevice, Tracer
from benchmarks.parity.bisect import largest_errors
from benchmarks.profile.run import entry_profile
from benchmarks.runtime import Tensors, load_runtime
from hydramobile.artifact import Artifact, Entry, primary, read_artifact, verify
from hydramobile.errors import HydraError, StageError, describe
from hydramobile.goldens import load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

# Seconds to wait at most until the device stops throttling, and seconds between two queries of its thermal status.
COOLED, ASK = 300.0, 5.0
# The runtime that evaluates the same files on any machine. A device's intermediate tensors show how faithful it is.
EVALUATOR = "coreml-mil"
EMULATED = "an emulator's time says nothing"


@dataclass(frozen=True, slots=True)
class Job:
    """The job of this process.

    `seconds`: steady state per entry and configuration. `cool`: rest between two configurations, in seconds.
    `model`, `out`: folders of the model and of its goldens.
    """

    runtime: str
    folder: str
    seconds: float
    cool: float
    model: str
    out: str


@dataclass(frozen=True, slots=True)
class Bench:
    """One artifact on a device; `say` reports progress."""

    job: Job
    runtime: DeviceRuntime
    artifact: Artifact
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        return Path(self.job.folder)

    @property
    def entries(self) -> Sequence[Entry]:
        return primary(self.artifact)


def main() -> None:
    content, stream = receive(sys.argv[1:])
    job = typed(Job, content)
    with stream:
        runtime = device_runtime(job.runtime)
        artifact = read_artifact(Path(job.folder))
        row = DeviceRow(
            target=artifact.target,
            recipe=artifact.recipe,
            artifact=artifact.sha256,
            runtime=runtime.name,
            evidence=runtime.evidence,
        )
        try:
            row = measure(row, Bench(job, runtime, artifact, lambda text: send(stream, event="stage", text=text)))
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, with its name
            traceback.print_exc()
            row = replace(row, verdict="failed", reason=describe(error))
        row = replace(row, left_and_removed=tuple(runtime.clean()))
        send(stream, event="result", row=plain(row))


def device_runtime(name: str) -> DeviceRuntime:
    runtime = load_runtime(name)
    if not isinstance(runtime, OnDevice):
        raise StageError("device", f"{name} reaches no device")
    return cast("DeviceRuntime", runtime)


def measure(row: DeviceRow, bench: Bench) -> DeviceRow:
    """Return the row with times, a profile and the comparison with this project's evaluator."""
    runtime = bench.runtime
    verify(bench.folder, bench.artifact)
    device = runtime.device()
    configurations: list[ConfigurationTimes] = []
    for index, name in enumerate(runtime.configurations):
        bench.say(name)
        if index:
            cool_down(bench)
        configurations.append(timed(bench, name))
    row = replace(
        row,
        verdict="untimed" if device.emulator else "measured",
        reason=EMULATED if device.emulator else "",
        device=device,
        runtime_version=runtime.version(),
        configurations=tuple(configurations),
        profile=tuple(profiled(bench, entry) for entry in bench.entries),
        evaluator=compared(bench),
    )
    timings = [entry for configuration in configurations for entry in configuration.entries]
    if all(entry.mean_ms is None for entry in timings):
        reason = next((entry.reason for entry in timings), "nothing was run")
        return replace(row, verdict="failed", reason=reason)
    return row


def timed(bench: Bench, configuration: str) -> ConfigurationTimes:
    """Time every entry in one configuration; read the device's condition before and after."""
    before = ask(bench.runtime)
    rows = tuple(entry_timings(bench, entry, configuration) for entry in bench.entries)
    return ConfigurationTimes(configuration, before, rows, ask(bench.runtime))


def entry_timings(bench: Bench, entry: Entry, configuration: str) -> EntryTimings:
    row = EntryTimings(entry=entry.id, modules=entry.modules)
    try:
        timings = bench.runtime.measure(bench.folder, entry, configuration, bench.job.seconds)
    except HydraError as error:
        return replace(row, reason=str(error))
    return typed(EntryTimings, {**plain(row), **plain(timings)})


def profiled(bench: Bench, entry: Entry) -> EntryProfile:
    bench.say(f"profile {entry.id}")
    try:
        return entry_profile(entry, bench.runtime.operators(bench.folder, entry))
    except HydraError as error:
        return EntryProfile(entry.id, reason=str(error))


def compared(bench: Bench) -> EvaluatorComparison:
    """Compare this project's evaluator with the device's runtime on the same file, tensor by tensor (Core ML only).

    Also lists the operators whose result differs between the processors of the device.
    """
    runtime, folder = bench.runtime, bench.folder
    entry = max(bench.entries, key=lambda item: len(item.modules))
    row = EvaluatorComparison(entry=entry.id)
    if not isinstance(runtime, Tracer):
        return replace(row, reason=f"{runtime.name} shows no intermediate tensors")
    evaluator = load_runtime(EVALUATOR)
    if not isinstance(evaluator, Tracer):
        return replace(row, reason=f"{EVALUATOR} shows no intermediate tensors")
    try:
        inputs = sample_inputs(bench.job, entry)
        real, ours = runtime.trace(folder, entry, inputs), evaluator.trace(folder, entry, inputs)
        count, median, worst = largest_errors(ours, real)
        row = replace(row, evaluator=EVALUATOR, compared=count, median=median, worst=worst)
        if not isinstance(runtime, Comparator):
            return replace(row, reason=f"{runtime.name} compares no processors")
        return replace(row, processors_disagree=tuple(runtime.disagreements(folder, entry, inputs)))
    except HydraError as error:
        return replace(row, reason=str(error))


def sample_inputs(job: Job, entry: Entry) -> Tensors:
    """Return the entry's inputs for the first judging sample."""
    spec = load_spec(Path(job.model))
    golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job.out))[0]
    return values(golden, [port.name for port in entry.inputs])


def ask(runtime: DeviceRuntime) -> Condition:
    """Query the device's condition; on an error, return a condition with the reason."""
    try:
        return runtime.condition()
    except HydraError as error:
        return Condition(reason=str(error))


def cool_down(bench: Bench) -> None:
    """Rest for `cool` seconds, then wait up to `COOLED` seconds until the device no longer throttles."""
    time.sleep(bench.job.cool)
    end = time.monotonic() + COOLED
    while (ask(bench.runtime).thermal_status or 0) > 0 and time.monotonic() < end:
        bench.say("cooling down")
        time.sleep(ASK)


if __name__ == "__main__":
    main()
