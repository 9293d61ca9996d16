"""An attached device: times by configuration, a profile, and how warm the device was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.profile import EntryProfile
from benchmarks.evidence.row import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What a device says it is; empty where it does not say. `serial` is a hash: a serial number names a person."""

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
    """How warm a device is; None where it does not say, for `reason` where it could not be asked.

    `thermal_status` goes from 0 (none) to 6 (shutdown); temperatures are in degrees Celsius by sensor, `battery` is
    the battery's, and `battery_level` is in percent.
    """

    thermal_status: int | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    battery: float | None = None
    battery_level: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds of one entry, and what the tool says of spread, memory (bytes) and a delegate.

    None, 0 or "" where the tool does not say.
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
    """`reason` says why the entry could not be timed in this configuration."""

    entry: str
    modules: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConfigurationTimes:
    """All entries in one configuration, such as "cpu-4" or "gpu", between two looks at how warm the device is."""

    configuration: str
    before: Condition
    entries: tuple[EntryTimings, ...]
    after: Condition


@dataclass(frozen=True, slots=True)
class TensorError:
    """max |a - b| of one tensor, as a share of the range of the device's."""

    tensor: str
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorComparison:
    """Our evaluator of the same file against the device's runtime, tensor by tensor.

    `processors_disagree` names the operators whose result leaves the CPU's when any processor may compute them.
    `reason` says why there is no comparison, or no second list.
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
    """One artifact on one device. `untimed` marks an emulator: its times are none.

    `left_and_removed` lists folders of earlier runs that were found on the device and removed.
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
    """`machine` is the computer that the device hangs on."""

    FILE: ClassVar[str] = "device.json"
    COMMAND: ClassVar[str] = "make bench-android or make bench-ios"
    kind: Literal["device"] = "device"
