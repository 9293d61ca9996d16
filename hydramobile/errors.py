"""Exit codes and errors of every command.

The exit codes are a contract with scripts: 0 passed, 1 a budget is broken, 2 bad usage, 3 a stage failed, 4 nothing
could be judged. An unexpected exception is reported as 3, never as 1. Beside them, as in shells, 130 and 143: Ctrl-C or
SIGTERM stopped the command.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum

# Stages that read files written by hand: model.toml, budget.toml, recipes.toml, samples.toml.
WRITTEN = ("spec", "budget", "recipes")


class ExitCode(IntEnum):
    PASSED = 0
    BUDGET = 1
    USAGE = 2
    STAGE = 3
    NOTHING = 4


class HydraError(Exception):
    """An error with a message for the user: what was asked for, what is available, what to do."""

    exit_code: ExitCode = ExitCode.STAGE


class UsageError(HydraError):
    """The command line names something that does not exist or cannot be combined."""

    exit_code = ExitCode.USAGE


class BudgetBroken(HydraError):
    """A recipe that must ship broke one of its reviewed limits."""

    exit_code = ExitCode.BUDGET


class NothingJudged(HydraError):
    """No artifact, no sample or no runtime: a comparison of nothing is not a pass."""

    exit_code = ExitCode.NOTHING


class StageError(HydraError):
    """A stage failed on content: a corrupt file, a wrong hash, an unknown op, a crash in a vendor's converter.

    `stage` is a short name of a step: "spec", "weights", "capture", "convert", "seal", "golden", ... An error in a file
    that the user wrote (`WRITTEN`) is bad usage: exit code 2.
    """

    exit_code = ExitCode.STAGE

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"{stage}: {message}")
        if stage in WRITTEN:
            self.exit_code = ExitCode.USAGE
        self.stage = stage
        self.message = message


def unknown(kind: str, asked: str, available: Iterable[str]) -> UsageError:
    """Return the error for a mistyped name. It lists the nearest and all available names."""
    names = sorted(available)
    near = difflib.get_close_matches(asked.lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"no {kind} {asked!r}{hint} (available: {', '.join(names) or 'none'})")


def describe(error: Exception) -> str:
    """Return an error's message; the type comes first for an error that is not this project's."""
    return str(error) if isinstance(error, HydraError) else f"{type(error).__name__}: {error}"
