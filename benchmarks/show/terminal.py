"""Helpers that all tables of the benchmark commands share."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Column, Table


def say(quiet: bool) -> Callable[[str], None]:
    """Return a function that prints progress on stderr, one line per step; it prints nothing if `quiet`."""
    console = Console(stderr=True, markup=False)
    return (lambda text: None) if quiet else lambda text: console.print(text, highlight=False)


def wide() -> Console:
    """Return a console for the terminal, or one of 120 columns if the output goes to a file or a pipe."""
    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=120)


def entry_table(figures: tuple[str, ...], *more: str) -> Table:
    """Return a table of entries: artifact, runtime, entry, right-aligned figures, then the columns of `more`."""
    names = (Column("artifact", no_wrap=True), "runtime", Column("entry", no_wrap=True))
    return Table(*names, *(Column(name, justify="right", no_wrap=True) for name in figures), *more)


def megabytes(count: int) -> str:
    """Return bytes as MB of 10^6 bytes, as app stores count them."""
    return f"{count / 1e6:.2f} MB"


def short_name(target: str, recipe: str) -> str:
    """Return TARGET/RECIPE, or the recipe alone for the reference."""
    return "/".join(filter(None, (target, recipe)))
