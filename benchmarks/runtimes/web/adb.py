"""Let a phone on a cable reach this computer by `adb reverse`.

The phone then opens a localhost address, which is a secure context; a LAN address is not.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

# Seconds that one adb command may take.
LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Phone:
    """An attached phone whose localhost:`port` is this computer's."""

    serial: str
    model: str
    port: int

    @property
    def emulator(self) -> bool:
        """Whether it is an emulator on some computer and no phone."""
        return self.serial.startswith("emulator-")

    def open(self, address: str) -> None:
        """Open `address` in the phone's browser, as a tap on a link does."""
        quoted = "'" + address.replace("'", "") + "'"
        adb("-s", self.serial, "shell", "am", "start", "-a", "android.intent.action.VIEW", "-d", quoted)

    def release(self) -> None:
        """Remove the port forwarding."""
        adb("-s", self.serial, "reverse", "--remove", f"tcp:{self.port}")


def adb(*arguments: str) -> str | None:
    """Return adb's stdout; None where adb is missing, fails or hangs."""
    program = shutil.which("adb")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=True, timeout=LIMIT, errors="replace"
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout


def attach(port: int) -> tuple[list[Phone], str]:
    """Forward `port` of every attached phone to this computer. Return the phones, and a sentence on each device."""
    listed = adb("devices")
    if listed is None:
        return [], "adb is not installed or does not answer: no phone on a cable"
    states = [line.split() for line in listed.splitlines()[1:] if len(line.split()) == 2]
    phones, remarks = [], []
    for serial, state in states:
        if state != "device":
            remarks.append(f"{serial} is {state}")
        elif adb("-s", serial, "reverse", f"tcp:{port}", f"tcp:{port}") is None:
            remarks.append(f"{serial} refused adb reverse")
        else:
            model = (adb("-s", serial, "shell", "getprop", "ro.product.model") or "").strip()
            phones.append(Phone(serial, model or serial, port))
            remarks.append(f"{model or serial} ({serial}) reaches it by cable")
    return phones, "; ".join(remarks) or "no phone is attached to adb"
