"""Measurements on an attached device: parity, then latency by configuration, then a profile.

Parity uses the same judge as on other runtimes. Each measurement runs separately, with time to cool down in between.
Its row records the device's description, and its temperature before and after. The device reports whether it is an
emulator; times of an emulator are in no table, because they do not predict a device's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.evidence.device import DeviceEvidence, DeviceRow
from benchmarks.evidence.envelope import identity_of, read_earlier, typed, updating, write
from benchmarks.evidence.parity import ParityRow
from benchmarks.machine import identity
from benchmarks.parity.run import run_parity
from benchmarks.request import (
    Built,
    Progress,
    Request,
    by_subject,
    names_of,
    sealed_hashes,
    select,
    shipping,
    silent,
    still_standing,
    subject_of,
)
from benchmarks.runtime import load_runtime
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.process import WorkerDied, events

TOOL = "HYDRA_BENCHMARK_MODEL"
HANG_LIMIT = 1800.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of device.

    `runtime` reaches it. The environment variable `variable` selects one of several attached devices. `more` are
    further runtimes for parity, each on another processor of the device.
    """

    runtime: str
    variable: str = ""
    more: tuple[str, ...] = ()


# The part of --device before the colon -> kind of device.
KINDS = {
    "adb": Kind("litert-android", "HYDRA_ADB_SERIAL", ("litert-android-gpu",)),
    "ios": Kind("coreml-device", "HYDRA_IOS_DEVICE"),
    "mac": Kind("coreml-mac"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Options of a run: `seconds` of steady state per entry and configuration, and at least `cool` seconds of rest."""

    kind: str
    seconds: float = 2.0
    cool: float = 10.0

    def __post_init__(self) -> None:
        if not 0.05 <= self.seconds <= 600:
            raise UsageError(f"--seconds {self.seconds:g} is not within 0.05 to 600")
        if not 0 <= self.cool <= 3600:
            raise UsageError(f"--cool {self.cool:g} is not within 0 to 3600")

    @property
    def runtime(self) -> str:
        return KINDS[self.kind].runtime


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of the command: the content of device.json, and the rows of parity measured on the device."""

    evidence: DeviceEvidence
    parity: tuple[ParityRow, ...]


def choose(text: str, tool: Path | None = None) -> str:
    """Parse `adb`, `adb:SERIAL`, `ios`, `ios:NAME` or `mac`, and return the kind of device.

    The text after the colon and the path of the tool are passed to the adapter as environment variables, because
    worker processes inherit them. Raises UsageError for any other text.
    """
    kind, _, which = text.partition(":")
    if kind not in KINDS or (which and not KINDS[kind].variable):
        raise UsageError(f"no device {text!r} (available: adb, adb:SERIAL, ios, ios:NAME, mac)")
    if which:
        os.environ[KINDS[kind].variable] = which
    if tool:
        os.environ[TOOL] = str(tool.resolve())
    return kind


def run_device(request: Request, run: Run, progress: Progress = silent) -> Measured:
    """Measure parity, times and a profile; write parity.json and device.json, and return the rows of both.

    Raises NothingJudged, with a remedy, when there is no device or no artifact for it.
    """
    runtime = load_runtime(run.runtime)
    missing = runtime.unavailable()
    if missing:
        raise NothingJudged(f"{runtime.name} is unavailable: {missing}")
    ships = shipping(request)
    artifacts = [
        built
        for built in select(request)[0]
        if built.artifact.target in runtime.targets and ships(built.artifact.target, built.artifact.recipe)
    ]
    if not artifacts:
        raise NothingJudged(f"no artifact of {', '.join(runtime.targets)} to run there; make one with: make export")
    names = (runtime.name, *KINDS[run.kind].more)
    only = tuple(names_of(artifacts))
    # In sequence: a runtime starts by removing the files that earlier runs left on the device.
    for name in names:
        judged = run_parity(replace(request, only=only, runtimes=(name,)), progress)
    rows = [on_device(request, run, built, progress) for built in artifacts]
    with updating(DeviceEvidence, request.root):
        evidence = DeviceEvidence(
            **identity_of(request.spec),
            machine=identity(),
            results=by_subject([*rows, *earlier(request, rows)]),
        )
        write(request.root, evidence)
    return Measured(evidence, tuple(row for row in judged.results if row.runtime in names))


def on_device(request: Request, run: Run, built: Built, progress: Progress) -> DeviceRow:
    """Measure one artifact in a worker process; if the device is lost, the row is "failed" with the reason."""
    artifact = built.artifact
    row = DeviceRow(target=artifact.target, recipe=artifact.recipe, artifact=artifact.sha256, runtime=run.runtime)
    job = {
        "runtime": run.runtime,
        "folder": str(built.folder),
        "seconds": run.seconds,
        "cool": run.cool,
        "model": str(request.spec.folder),
        "out": str(request.out),
    }
    try:
        for event in events("benchmarks.device.worker", job, request.root / "device.log", HANG_LIMIT):
            if event["event"] == "stage":
                progress(f"{artifact.target} {artifact.recipe}: {event['text']}")
            else:
                row = typed(DeviceRow, event["row"])
    except WorkerDied as error:
        row = replace(row, verdict="failed", reason=str(error))
    return row


def earlier(request: Request, fresh: Iterable[DeviceRow]) -> list[DeviceRow]:
    """Return earlier rows of other devices, or of artifacts not in this run, if their artifact is unchanged."""
    known = read_earlier(DeviceEvidence, request.root)
    return still_standing(known.results, fresh, sealed_hashes(request.root), key_of) if known else []


def key_of(row: DeviceRow) -> tuple[str, ...]:
    return (*subject_of(row), row.device.serial if row.device else "")


def conclude_device(measured: Measured) -> str:
    """Return the reason line of a pass; raise StageError where parity or a run failed on the device."""
    bad = [row for row in measured.parity if row.verdict in ("failed", "mismatch")]
    if bad:
        first = bad[0]
        where = " ".join(filter(None, (first.target, first.recipe, first.runtime, first.entry, first.mode)))
        text = f"{where}: {first.reason} ({len(bad)} of {len(measured.parity)} comparisons)"
        raise StageError(first.stage or "parity", text)
    rows = measured.evidence.results
    lost = [row for row in rows if row.verdict == "failed"]
    if lost:
        raise StageError("device", f"{lost[0].target} {lost[0].recipe}: {lost[0].reason}")
    passed = sum(row.verdict == "pass" and row.mode != "environment" for row in measured.parity)
    return f"{passed} comparisons hold on the device, {len(rows)} artifacts measured there"
