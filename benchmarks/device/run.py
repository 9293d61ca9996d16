"""An attached device: parity by the same judge as everywhere, then latency by configuration and a profile, in runs of
their own, with what the device is, how warm it was before and after, and time to cool in between.

Adapters that reach a device implement `OnDevice` beside `Runtime`. A row is labelled by what the device says of itself;
times of an emulator are kept out of every table: they are none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from benchmarks.machine import identity
from benchmarks.parity.run import Request, readable, run_parity, select
from benchmarks.profile.run import OpTime
from benchmarks.runtime import load_runtime
from hydramobile.artifact import Artifact, Entry, find_artifacts
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.process import WorkerDied, events

FILE = "device.json"
TOOL = "HYDRA_BENCHMARK_MODEL"
HANG_LIMIT = 1800.0
Row = dict[str, Any]
Progress = Callable[[str], None]
# The first word of --device -> the runtime that reaches it, and the variable that names one of several.
KINDS = {
    "adb": ("litert-android", "HYDRA_ADB_SERIAL"),
    "ios": ("coreml-device", "HYDRA_IOS_DEVICE"),
    "mac": ("coreml-mac", ""),
}


# Further runtimes that judge there what another processor of the device computes.
MORE = {"adb": ("litert-android-gpu",)}


@runtime_checkable
class OnDevice(Protocol):
    """What a runtime offers beside `Runtime` to be measured on a device."""

    # Names of ways to run there, such as "cpu-4" or "gpu".
    configurations: tuple[str, ...]

    def device(self) -> Row:
        """What it is; {"emulator": bool, ...} always. Names no person and no serial number."""
        ...

    def condition(self) -> Row:
        """How warm it is: {"thermal_status": int or None, ...}."""
        ...

    def measure(self, folder: Path, entry: Entry, configuration: str, seconds: float) -> Row:
        """Milliseconds of one entry: {"mean_ms", ...}. Raises StageError where this configuration cannot run it."""
        ...

    def operators(self, folder: Path, entry: Entry) -> list[OpTime]:
        """Time, or placement, by operator, from a run whose other results are thrown away."""
        ...

    def clean(self) -> list[str]:
        """Remove from the device what is ours; returns what was there."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """`seconds` of steady state an entry and configuration; `cool` seconds at least between two of them."""

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
        return KINDS[self.kind][0]


def choose(text: str, tool: Path | None = None) -> str:
    """The kind of `adb`, `adb:SERIAL`, `ios`, `ios:NAME` or `mac`. What follows the colon, and the tool, are handed to
    the adapter through the environment, which its worker processes share."""
    kind, _, which = text.partition(":")
    if kind not in KINDS or (which and not KINDS[kind][1]):
        raise UsageError(f"no device {text!r} (available: adb, adb:SERIAL, ios, ios:NAME, mac)")
    if which:
        os.environ[KINDS[kind][1]] = which
    if tool:
        os.environ[TOOL] = str(tool.resolve())
    return kind


def run_device(request: Request, run: Run, progress: Progress = lambda text: None) -> Row:
    """Parity into parity.json, the rest into device.json; returns the latter's content with `parity` rows added.

    Raises NothingJudged where there is no device or no artifact for it, with what would help.
    """
    runtime = load_runtime(run.runtime)
    missing = runtime.unavailable()
    if missing:
        raise NothingJudged(f"{runtime.name} is unavailable: {missing}")
    found, _ = select(request)
    mine = chosen_artifacts(request, [(folder, a) for folder, a in found if a.target in runtime.targets])
    if not mine:
        raise NothingJudged(f"no artifact of {', '.join(runtime.targets)} to run there; make one with: make export")
    only = tuple((artifact.target, artifact.recipe) for _, artifact in mine)
    names = (runtime.name, *MORE.get(run.kind, ()))
    # One after the other: a new one begins by removing from the device what others left there.
    for name in names:
        judged = run_parity(replace(request, only=only, runtimes=(name,)), progress)
    rows = [on_device(request, run, folder, artifact, progress) for folder, artifact in mine]
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "host": identity(),
        "results": sorted([*rows, *earlier(request, rows)], key=lambda r: (r["target"], r["recipe"], r["runtime"])),
    }
    write_text(request.root / FILE, dump_json(document))
    return {**document, "parity": [row for row in judged["results"] if row["runtime"] in names]}


def chosen_artifacts(request: Request, found: Sequence[tuple[Path, Artifact]]) -> list[tuple[Path, Artifact]]:
    """All that were asked for; without `request.only` the recipes that must ship."""
    ship = load_budget(request.spec).ship
    return [(folder, a) for folder, a in found if request.only or a.recipe in ship.get(a.target, ())]


def on_device(request: Request, run: Run, folder: Path, artifact: Artifact, progress: Progress) -> Row:
    """The row of one artifact, from a process of its own. What a lost device did not answer is said, not left out."""
    row: Row = {
        "target": artifact.target,
        "recipe": artifact.recipe,
        "artifact": artifact.sha256,
        "runtime": run.runtime,
        "evidence": "",
        "verdict": "failed",
        "reason": "",
        "device": {},
        "configurations": [],
        "profile": [],
    }
    job = {
        "runtime": run.runtime,
        "folder": str(folder),
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
                row |= event["row"]
    except WorkerDied as error:
        row |= {"verdict": "failed", "reason": str(error)}
    return row


def earlier(request: Request, fresh: Sequence[Row]) -> list[Row]:
    """Rows of other devices, or of artifacts not run now, whose artifact still stands."""
    path = request.root / FILE
    if not path.is_file():
        return []
    redone = {key_of(row) for row in fresh}
    standing = {a.sha256 for a in map(readable, find_artifacts(request.root)) if a}
    old: list[Row] = read_json(path, "device").get("results", [])
    return [row for row in old if key_of(row) not in redone and row["artifact"] in standing]


def key_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (row["target"], row["recipe"], row["runtime"], str(row["device"].get("serial", "")))


def conclude_device(document: Mapping[str, Any]) -> str:
    """The reason line of a pass; raises StageError where parity or a run failed on the device."""
    bad = [row for row in document["parity"] if row["verdict"] in ("failed", "mismatch")]
    if bad:
        where = " ".join(filter(None, (bad[0][key] for key in ("target", "recipe", "runtime", "entry", "mode"))))
        text = f"{where}: {bad[0]['reason']} ({len(bad)} of {len(document['parity'])} comparisons)"
        raise StageError(bad[0]["stage"] or "parity", text)
    lost = [row for row in document["results"] if row["verdict"] == "failed"]
    if lost:
        raise StageError("device", f"{lost[0]['target']} {lost[0]['recipe']}: {lost[0]['reason']}")
    passed = sum(row["verdict"] == "pass" and row["mode"] != "environment" for row in document["parity"])
    return f"{passed} comparisons hold on the device, {len(document['results'])} artifacts measured there"
