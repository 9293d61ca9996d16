"""Use an Android device over adb: run commands, push and pull files, read its identity and temperature.

All files lie in one folder below `TEMP` whose name begins with PREFIX. The next run therefore finds and removes what an
earlier one could not (a pulled cable, a killed process).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from benchmarks.evidence.device import Condition, DeviceInfo
from benchmarks.evidence.envelope import typed
from benchmarks.evidence.row import Label
from hydramobile.errors import StageError
from hydramobile.files import sha256_bytes

TEMP = "/data/local/tmp"
PREFIX = "hydra-bench-"
SERIAL = "HYDRA_ADB_SERIAL"
# Seconds that a command other than a benchmark may take, and seconds to wait for a device that went away.
PATIENCE = 60.0
RETURN = float(os.environ.get("HYDRA_ADB_RETURN", "30"))
IDENTITY = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "soc_manufacturer": "ro.soc.manufacturer",
    "board": "ro.board.platform",
    "abi": "ro.product.cpu.abi",
    "android": "ro.build.version.release",
    "sdk": "ro.build.version.sdk",
    "build": "ro.build.fingerprint",
}
# Any of these means an emulator. The device's own properties decide its label, never our configuration.
EMULATOR = ("ro.kernel.qemu", "ro.boot.qemu")
EMULATED_HARDWARE = ("goldfish", "ranchu", "qemu", "cutf_cvm")
STATUS = re.compile(r"Thermal Status:\s*(\d+)")
TEMPERATURE = re.compile(r"Temperature\{mValue=([-\d.]+), mType=(\d+), mName=([^,]+), mStatus=(\d+)\}")
Result = TypeVar("Result")


def no_phone() -> str | None:
    """Return why no device can be used, with what would help, or None. Starts the adb server if it is not running."""
    if find_spec("adbutils") is None:
        return "adbutils is not installed; run: make setup"
    adb = import_module("adbutils")
    asked = os.environ.get(SERIAL, "")
    try:
        rows = {row.serial: row.state for row in adb.AdbClient().list(extended=False)}
    except Exception as error:  # noqa: BLE001  adbutils raises its own, the system's and subprocess' errors
        return f"no adb server can be reached ({type(error).__name__}: {error}); run: scripts/setup.sh android"
    ready = [serial for serial, state in rows.items() if state == "device"]
    others = "".join(f"; {serial} is {state}" for serial, state in rows.items() if state != "device")
    if asked and asked not in ready:
        return f"no device {asked!r} is attached (attached: {', '.join(ready) or 'none'}{others})"
    if not ready:
        return f"no Android device is attached{others}; connect one with USB debugging allowed"
    if len(ready) > 1 and not asked:
        return f"several devices are attached ({', '.join(ready)}): choose one with --device adb:SERIAL"
    return None


class Phone:
    """Use the chosen device. Raises StageError("device") where it is gone, StageError("push") where a push fails."""

    def __init__(self) -> None:
        missing = no_phone()
        if missing:
            raise StageError("device", missing)
        adb = import_module("adbutils")
        self.client = adb.AdbClient()
        self.failures = (adb.AdbError, OSError, EOFError, AssertionError, ValueError)
        ready = [row.serial for row in self.client.list(extended=False) if row.state == "device"]
        self.serial: str = os.environ.get(SERIAL, "") or ready[0]
        self.device: Any = self.client.device(serial=self.serial)
        self.root = f"{TEMP}/{PREFIX}{uuid.uuid4().hex[:8]}"
        self.gone = False

    def attached(self) -> bool:
        with contextlib.suppress(*self.failures):
            return any(row.serial == self.serial and row.state == "device" for row in self.client.list(extended=False))
        return False

    def returned(self, seconds: float) -> bool:
        """Wait for a device that went away. Return whether it came back in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.attached():
                self.gone = False
                return True
            time.sleep(0.25)
        return False

    @contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Raise StageError naming `what`, and say whether the device went away or the command failed."""
        try:
            yield
        except self.failures as error:
            if type(error).__name__ == "AdbTimeout" and self.attached():
                raise StageError("device", f"{self.serial} did not answer in time: {what}") from error
            if not self.attached():
                self.gone = True
                raise StageError("device", f"{self.serial} went away during: {what}") from error
            raise StageError("device", f"{what} failed on {self.serial}: {error or type(error).__name__}") from error

    def shell(self, command: str, seconds: float = PATIENCE) -> tuple[int, str]:
        """Run a command in the device's shell, and return its exit code and its output with errors."""
        with self.watched(command.split("\n")[0][:80]):
            done = self.device.shell2(command, timeout=seconds)
            return int(done.returncode), str(done.output)

    def must(self, command: str, stage: str = "device") -> str:
        """Run a command and return its output. Raises StageError(`stage`) where it fails."""
        code, output = self.shell(command)
        if code:
            raise StageError(stage, f"{command!r} ended with {code} on {self.serial}: {output.strip()[-300:]}")
        return output

    def push(self, data: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file on the device and check its sha256 there. The error names the free space."""
        try:
            with self.watched(f"push {path}"):
                self.device.sync.push(data, path, mode)
            expected, (_, output) = sha256_bytes(data), self.shell(f"sha256sum {shlex.quote(path)}")
            actual = output.split()[0] if output.split() else "nothing"
            if actual != expected:
                raise StageError("push", f"{path} arrived with sha256 {actual[:12]}, not {expected[:12]}")
        except StageError as error:
            if self.gone:
                raise
            free = self.free_space()
            left = "" if free is None else f"; {free / 1e6:.1f} MB are free there, {len(data) / 1e6:.1f} MB were needed"
            raise StageError("push", f"{path} could not be written on {self.serial}{left} ({error.message})") from error

    def free_space(self) -> int | None:
        """Return the free bytes where files are pushed, or None where the device does not report them."""
        with contextlib.suppress(StageError, ValueError, IndexError):
            _, output = self.shell(f"df -k {TEMP}")
            return int(output.strip().splitlines()[-1].split()[3]) * 1024
        return None

    def pull(self, path: str) -> bytes:
        with self.watched(f"pull {path}"):
            return bytes(self.device.sync.read_bytes(path))

    def property(self, name: str) -> str:
        return self.shell(f"getprop {name}")[1].strip()

    def identity(self) -> DeviceInfo:
        """Return what the device says it is; `serial` only as a hash, because it names a person's phone."""
        found = {key: self.property(name) for key, name in IDENTITY.items()}
        hardware = self.property("ro.hardware").lower()
        emulator = any(self.property(name) == "1" for name in EMULATOR) or hardware in EMULATED_HARDWARE
        cores = len(re.findall(r"^processor", self.shell("cat /proc/cpuinfo")[1], re.MULTILINE))
        serial = sha256_bytes(self.serial.encode())[:12]
        return typed(DeviceInfo, {**found, "emulator": emulator, "cores": cores, "serial": serial})

    def condition(self) -> Condition:
        """Return how warm the device is, from its thermal service and its battery."""
        _, thermal = self.shell("dumpsys thermalservice 2>/dev/null")
        _, battery = self.shell("dumpsys battery 2>/dev/null")
        status, warmth = STATUS.search(thermal), re.search(r"temperature:\s*(\d+)", battery)
        level = re.search(r"level:\s*(\d+)", battery)
        return Condition(
            thermal_status=int(status[1]) if status else None,
            temperatures={name: float(value) for value, _, name, _ in TEMPERATURE.findall(thermal)},
            battery=int(warmth[1]) / 10 if warmth else None,
            battery_level=int(level[1]) if level else None,
        )

    def start(self) -> None:
        """Remove the folders of earlier runs, and make the folder of this one."""
        self.sweep()
        self.must(f"mkdir -p {self.root}", "push")

    def sweep(self) -> list[str]:
        """Kill the processes of earlier runs, remove their folders, and return these."""
        _, listed = self.shell(f"ls -d {TEMP}/{PREFIX}* 2>/dev/null")
        folders = [line.strip() for line in listed.splitlines() if line.strip().startswith(f"{TEMP}/{PREFIX}")]
        for folder in folders:
            self.shell(f"[ -f {folder}/pid ] && kill -9 $(cat {folder}/pid) 2>/dev/null; rm -rf {folder}")
        return folders

    def again(self, action: Callable[[], Result], prepare: Callable[[], None]) -> Result:
        """Run `action`, and once more, after `prepare`, where the device went away meanwhile and came back."""
        try:
            return action()
        except StageError:
            if not self.gone or not self.returned(RETURN):
                raise
        prepare()
        return action()


def label(device: DeviceInfo) -> Label:
    """Return the evidence label of what a device computes: hardware, or an emulator of ARM or of this computer."""
    if not device.emulator:
        return "measured-on-device"
    return "emulated-arm" if device.abi.startswith("arm") else "host"
