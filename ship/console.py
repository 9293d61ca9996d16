"""The console script `hydra-mobile`: its first word chooses the command of a package."""

from __future__ import annotations

import os
import subprocess
import sys

from hydramobile.cli import COMPLETE
from hydramobile.errors import ExitCode, unknown
from ship.commands import command_line, replace_process
from ship.version import program_version

# word -> (package, its command's words)
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ship": ("ship", ()),
    "zoo": ("ship.zoo", ()),
    "init": ("export", ("init",)),
    "export": ("export", ()),
    **{word: ("export", (word,)) for word in ("bundle", "keygen", "sign", "verify")},
    "inspect": ("export", ("inspect",)),
    "layers": ("export", ("layers",)),
    "list": ("export", ("list",)),
    "search": ("export", ("search",)),
    "goldens": ("hydramobile", ("goldens",)),
    **{
        word: ("benchmarks", (word,))
        for word in ("parity", "size", "cost", "latency", "grid", "compare", "profile", "device", "support", "report")
    },
    "demo": ("demo", ()),
    "reference": ("reference", ()),
}
# Commands whose options another command's words complete.
COMPLETED = {"export": ("export", ("make",)), "doctor": ("benchmarks", ("doctor",))}
HELP = """\
hydra-mobile: any PyTorch net to Core ML, LiteRT, ONNX and TF.js, each file proven in a real runtime.

  hydra-mobile init DEST NET.pt2             write a model folder (also from a factory: PACKAGE.MODULE:build)
  hydra-mobile ship ios android web --model DEST    export, judge, measure, report: which files may ship
  hydra-mobile bundle ios --model DEST       a package for an app (ios, android or web) from a file that passed

  export inspect layers list search          single steps: make files, read them
  goldens parity size cost latency report    single steps: judge and measure them
  device grid compare profile support        phones, rounds of timing
  keygen sign verify                         signatures of artifacts and of their verdicts
  zoo ZOO.toml                               ship a list of nets, one table
  demo reference                             the portrait: its page, its training
  doctor                                     what works on this machine, and why the rest does not

hydra-mobile COMMAND --help explains one. Exit codes: 0 passed, 1 a budget is broken, 2 bad usage, 3 a stage failed,
4 nothing could be judged. Options: --version, --help, --install-completion (of the shell), --show-completion."""


def main() -> None:
    """Run the command that the first word names, in a process that replaces this one."""
    words = sys.argv[1:]
    if COMPLETE in os.environ or (words and words[0].startswith(("--install-completion", "--show-completion"))):
        from ship.completion import complete

        complete({**COMMANDS, **COMPLETED})
    if not words or words[0] in ("--help", "-h", "help"):
        sys.stdout.write(HELP + "\n")
        sys.exit(0)
    if words[0] == "--version":
        sys.stdout.write(f"hydra-mobile {program_version()}\n")
        sys.exit(0)
    if words[0] == "doctor":
        sys.exit(doctor(words[1:]))
    if words[0] not in COMMANDS:
        error = unknown("command", words[0], [*COMMANDS, "doctor"])
        sys.stdout.write(f"verdict: {int(ExitCode.USAGE)} {error}\n")
        sys.exit(int(ExitCode.USAGE))
    package, first = COMMANDS[words[0]]
    replace_process(package, [*first, *words[1:]], "hydra-mobile" if first else f"hydra-mobile {words[0]}")


def doctor(words: list[str]) -> int:
    """Run the doctors of targets and runtimes; return the first exit code that is not 0."""
    codes = [subprocess.call(command_line(package, ["doctor", *words])) for package in ("export", "benchmarks")]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    main()
