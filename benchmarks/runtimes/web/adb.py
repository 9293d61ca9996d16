"""On a cable, a phone reaches this computer through `adb reverse`: a secure context, which a LAN address is not."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Phone:
    """An attached phone whose `port` leads here. `emulator`: it is a program on some computer, and no phone."""

    serial: str
    model: str
    port: int

    @property
    def emulator(self) -> bool:
        return self.serial.startswith("emulator-")

    def open(self, address: str) -> None:
        """Open `address` in the phone's browser, as a tap on a link would."""
        quoted = "'" + address.replace("'", "") + "'"
        adb("-s", self.serial, "shell", "am", "start", "-a", "android.intent.action.VIEW", "-d", quoted)

    def release(self) -> None:
        adb("-s", self.serial, "reverse", "--remove", f"tcp:{self.port}")


def adb(*arguments: str) -> str | None:
    """What adb printed; None where it is missing, fails or hangs."""
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
    """(the phones whose localhost:`port` leads to this computer's, a sentence on how that went)."""
    listed = adb("devices")
    if listed is None:
        return [], "adb is not installed or does not answer: no phone on a cable"
    states = [line.split() for line in listed.splitlines()[1:] if len(line.split()) == 2]
    phones, told = [], []
    for serial, state in states:
        if state != "device":
            told.append(f"{serial} is {state}")
        elif adb("-s", serial, "reverse", f"tcp:{port}", f"tcp:{port}") is None:
            told.append(f"{serial} refused adb reverse")
        else:
            model = (adb("-s", serial, "shell", "getprop", "ro.product.model") or "").strip()
            phones.append(Phone(serial, model or serial, port))
            told.append(f"{model or serial} ({serial}) reaches it by cable")
    return phones, "; ".join(told) or "no phone is attached to adb"
