"""Read the commands of Markdown pages, and parse them by the programs that they call, without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from export.__main__ import insert_default_verb
from ship.console import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`((?:hydra-mobile|(?:\.venv/bin/)?python -m|make) [^`]+)`")
# Programs that are not ours: their options are their own.
OTHERS = ("pip", "pipx", "uv", "git", "npm", "cd", "cp", "ls", "export", "python", "curl", "adb")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [content for name, content in BLOCK.findall(text) if name == language]


def commands(block: str) -> Iterator[str]:
    """Yield the commands of a block: continued lines joined, comments left out."""
    for line in block.replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            yield text


def spans(text: str) -> Iterator[str]:
    """Yield the commands in backticks: `make export`, `python -m export layers [MODEL]`."""
    yield from (found.replace("\\|", "|") for found in SPAN.findall(BLOCK.sub("", text)))


@cache
def program(package: str) -> Any:
    """Return the command line of a package."""
    return typer.main.get_command(import_module(f"{package}.__main__").app)


@cache
def make_words() -> tuple[set[str], set[str]]:
    """Return the targets and the variables of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE)), set(
        re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE)
    ) | {
        "DATA",
        "VALIDATION",
        "RUN",
        "RESUME",
        "RECIPE",
        "TEST",
        "REAL",
        "WEIGHTS",
        "ROUNDS",
    }


def fault(line: str) -> str:
    """Say why a command of a block does not parse, "" where it does."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    first = words[0].rpartition("/")[2] if words else ""
    if first == "hydra-mobile":
        return console_fault(words[1:])
    if first.startswith("python") and "-m" in words[1:3]:
        at = words.index("-m") + 1
        return parse_fault(words[at], words[at + 1 :]) if (ROOT / words[at] / "__main__.py").is_file() else ""
    if first == "make":
        return make_fault(words[1:])
    if first == "bash":
        return "" if (ROOT / words[1]).is_file() else f"no script {words[1]}"
    return "" if first in OTHERS else f"no program {first!r}"


def console_fault(words: list[str]) -> str:
    if not words or words[0] in ("--version", "--help", "--install-completion", "--show-completion"):
        return ""
    if words[0] == "doctor":
        return parse_fault("benchmarks", words)
    if words[0] not in COMMANDS:
        return f"hydra-mobile has no command {words[0]!r}"
    package, before = COMMANDS[words[0]]
    return parse_fault(package, [*before, *words[1:]])


def parse_fault(package: str, words: list[str]) -> str:
    """Parse words as the package's command line would."""
    if package == "export":
        words = insert_default_verb(words)
    command = program(package)
    try:
        context = command.make_context(package, list(words))
        if hasattr(command, "resolve_command"):
            name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            inner.make_context(name, rest, parent=context)
    except Exception as error:  # noqa: BLE001 - typer's errors are classes of a private module
        shown = getattr(error, "format_message", None)
        return str(shown()) if shown else "" if type(error).__name__ == "Exit" else repr(error)
    return ""


def make_fault(words: list[str]) -> str:
    targets, variables = make_words()
    for word in words:
        name, equals, _ = word.partition("=")
        if equals and name not in variables:
            return f"make knows no variable {name}"
        if not equals and word not in targets:
            return f"make has no target {word!r}"
    return ""


def span_faults(line: str) -> Iterator[str]:
    """Yield the options and targets in a command in backticks, which has placeholders, that do not exist."""
    words = re.split(r"[\s\[\]()|=]+", line.strip())
    if words[0] == "make":
        yield from filter(None, map(make_fault, ([word] for word in words[1:2] if word)))
        return
    package, rest = (words[2], words[3:]) if words[1] == "-m" else ("", words[1:])
    if not package:
        if rest[0] == "doctor" or not re.fullmatch(r"[a-z]+", rest[0]):
            return
        if rest[0] not in COMMANDS:
            yield f"hydra-mobile has no command {rest[0]!r}"
            return
        package, before = COMMANDS[rest[0]]
        rest = [*before, *rest[1:]]
    if not (ROOT / package / "__main__.py").is_file():
        return
    command = program(package)
    options = {
        option
        for each in [command, *getattr(command, "commands", {}).values()]
        for p in each.params
        for option in p.opts
    }
    verb = getattr(command, "commands", {}).get(rest[0]) if rest else None
    if verb is not None:
        options = {option for parameter in verb.params for option in parameter.opts}
    yield from (
        f"no option {word} of {package}" for word in rest if word.startswith("--") and word not in {*options, "--help"}
    )
