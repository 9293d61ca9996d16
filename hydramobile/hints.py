"""Name commands as the reader has them: `make parity` in a checkout, `hydra-mobile parity` beside a wheel."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent / "Makefile"
# Targets of the Makefile -> the command of the console script that does the same. Joined targets come first.
COMMANDS = {
    "export-web parity": "ship web",
    "parity bench": "ship ios",
    "bundle-ios": "bundle ios",
    "bundle-android": "bundle android",
    "bundle-web": "bundle web",
    "bench-android TOOL=path/to/benchmark_model": "device --device adb",
    "bench-android TOOL=path": "device --device adb",
    "bench-android": "device --device adb",
    "bench-ios": "device --device ios",
    "export-ios": "export ios",
    "export-android": "export android",
    "export-web": "export web",
    "export": "export all",
    "parity-arm": "parity --runtime arm",
    "parity": "parity",
    "bench": "latency",
    "grid": "support",
    "goldens": "goldens",
    "report": "report",
    "doctor": "doctor",
    "demo": "demo serve",
}
TARGETS = "|".join(re.escape(target) for target in COMMANDS)
# `make export` is no part of `make export-ios`.
COMMAND = re.compile(rf"\bmake ({TARGETS})(?![\w-])(?: MODEL=(\S+?)(?=[\s,;:.)<`]|$))?")


def hints(text: str, checkout: bool | None = None) -> str:
    """Return `text` with each `make TARGET [MODEL=DIR]` as the console script's command where there is no checkout.

    `make` is a target of the repository's Makefile, which a wheel does not hold. `checkout` overrides what is found.
    """
    if CHECKOUT.is_file() if checkout is None else checkout:
        return text
    return COMMAND.sub(lambda match: command(match[1], match[2] or ""), text)


def command(target: str, model: str) -> str:
    return f"hydra-mobile {COMMANDS[target]}" + (f" --model {model}" if model else "")
