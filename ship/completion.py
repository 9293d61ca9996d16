"""Shell completion of `hydra-mobile`: the first word here, the rest by the command of the package that it names.

The shell calls the program with `_HYDRA_MOBILE_COMPLETE` and what was typed so far, in the variables of typer's own
completion scripts: `COMP_WORDS` and `COMP_CWORD` of bash, `_TYPER_COMPLETE_ARGS` of zsh, fish and PowerShell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, MutableMapping

import typer

from hydramobile.cli import COMPLETE
from ship.commands import replace_process

PROGRAM = "hydra-mobile"
OPTIONS = ("--install-completion", "--show-completion")


def complete(commands: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Print completions, print the shell's script or install it. `commands`: word -> (package, its words)."""
    environment = dict(os.environ)
    chosen = forwarded(environment, commands)
    if chosen:
        os.environ.update(environment)
        replace_process(chosen, [])
    first_word(commands)()


def forwarded(environment: MutableMapping[str, str], commands: Mapping[str, tuple[str, tuple[str, ...]]]) -> str:
    """Return the package that completes what was typed after the first word, "" while the first word is typed.

    The words of `environment` become the words of the package's own command line.
    """
    if not environment.get(COMPLETE, "").startswith("complete_"):
        return ""
    bash = "COMP_WORDS" in environment and environment[COMPLETE].endswith("_bash")
    key = "COMP_WORDS" if bash else "_TYPER_COMPLETE_ARGS"
    program, word, rest, inside = split_words(environment.get(key, ""))
    if not inside or word not in commands:
        return ""
    package, first = commands[word]
    environment[key] = " ".join((program, *first)) + rest
    if bash:
        environment["COMP_CWORD"] = str(int(environment["COMP_CWORD"]) - 1 + len(first))
    return package


def split_words(text: str) -> tuple[str, str, str, bool]:
    """Return (the program, the first word, the text after it, whether that text was begun)."""
    program, _, after = text.lstrip().partition(" ")
    word, blank, rest = after.lstrip().partition(" ")
    return program, word, blank + rest, bool(blank)


def first_word(commands: Iterable[str]) -> typer.Typer:
    """Return an application that knows the first words, and typer's options for completion."""
    app = typer.Typer(add_completion=True)

    def nothing() -> None:
        """Stand for a command, for its name."""

    for word in commands:
        app.command(word, help="")(nothing)
    return app
