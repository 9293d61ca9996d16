"""Measurements of an attached device: times by configuration, a profile, and the device's temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.profile import EntryProfile
from benchmarks.evidence.row import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """The description that a device reports; fields that it does not report are empty.

    `serial` is a hash, because a serial number identifies a person.
    """

    emulator: bool = False
    manufacturer: str = ""
    model: str = ""
    soc: str = ""
    soc_manufacturer: str = ""
    board: str = ""
    abi: str = ""
    android: str = ""
    sdk: str = ""
    build: str = ""
    os: str = ""
    cores: int = 0
    serial: str = ""
    tool_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The thermal state of a device; fields that it does not report are None.

    `thermal_status` goes from 0 (none) to 6 (shutdown). `temperatures` are in degrees Celsius by sensor, `battery` is
    the temperature of the battery, and `battery_level` is in percent. `reason` says why the query failed.
    """

    thermal_status: int | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    battery: float | None = None
    battery_level: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds of one entry, their standard deviation, peak memory in bytes, and the delegate.

    A field that the tool does not report is None, 0 or "".
    """

    init_ms: float | None = None
    first_ms: float | None = None
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    runs: int = 0
    peak_memory: int | None = None
    delegate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryTimings(Timings):
    """Timings of one entry. `reason` says why it could not be timed in this configuration."""

    entry: str
    modules: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConfigurationTimes:
    """Timings of all entries in one configuration, such as "cpu-4" or "gpu".

    `before` and `after` are the device's thermal state before the first entry and after the last one.
    """

    configuration: str
    before: Condition
    entries: tuple[EntryTimings, ...]
    after: Condition


@dataclass(frozen=True, slots=True)
class TensorError:
    """max |a - b| of one tensor, as a share of the range of the device's tensor."""

    tensor: str
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorComparison:
    """This project's evaluator of a file against the device's runtime, tensor by tensor.

    `processors_disagree` names the operators whose result diverges from the CPU's when any processor may compute
    them. `reason` says why there is no comparison, or why `processors_disagree` is empty.
    """

    entry: str
    evaluator: str = ""
    compared: int = 0
    median: float | None = None
    worst: tuple[TensorError, ...] = ()
    processors_disagree: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow(Row):
    """One artifact on one device.

    The verdict "untimed" marks an emulator, whose times do not predict a device's. `left_and_removed` lists folders
    that earlier runs left on the device, and that this run removed.
    """

    verdict: Literal["measured", "untimed", "failed"] = "failed"
    device: DeviceInfo | None = None
    runtime_version: Mapping[str, str] = field(default_factory=dict)
    configurations: tuple[ConfigurationTimes, ...] = ()
    profile: tuple[EntryProfile, ...] = ()
    evaluator: EvaluatorComparison | None = None
    left_and_removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvidence(Evidence[DeviceRow]):
    """Measurements of attached devices. `machine` is the computer that the devices are attached to."""

    FILE: ClassVar[str] = "device.json"
    COMMAND: ClassVar[str] = "make bench-android or make bench-ios"
    kind: Literal["device"] = "device"
