"""Turn names of models, modules and tensors into identifiers of a programming language, injectively within a scope."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", re.UNICODE)


def words(text: str) -> list[str]:
    """Split a name at separators, digits and capitals: "depthMap_2" gives ["depth", "map", "2"].

    A letter outside ASCII becomes "u" with its code point in hexadecimal.
    """
    return [
        "".join(char if char.isascii() else f"u{ord(char):x}" for char in part).lower() for part in PARTS.findall(text)
    ]


def pascal(text: str) -> str:
    """Return the name as a type's: "relative-depth" gives "RelativeDepth". It may be empty or begin with a digit."""
    return "".join(word[:1].upper() + word[1:] for word in words(text))


def camel(text: str) -> str:
    """Return the name as a function's or a variable's: "relative-depth" gives "relativeDepth"."""
    name = pascal(text)
    first = words(text)[0] if name else ""
    return first + name[len(first) :]


class Scope:
    """Identifiers that must differ from each other and from reserved words.

    One text has one identifier. Where two texts would get the same, or one is reserved, the later one gets a number.
    """

    def __init__(self, reserved: Collection[str]) -> None:
        self.reserved = frozenset(reserved)
        self.given: dict[str, str] = {}

    def take(self, text: str, identifier: str) -> str:
        """Return the identifier of `text`: `identifier` where it is free, else with the first free number behind it."""
        if text in self.given:
            return self.given[text]
        base = identifier or "value"
        if base[0].isdigit():
            base = f"n{base}"
        name, number = base, 2
        while name in self.reserved or name in self.given.values():
            name, number = f"{base}{number}", number + 1
        self.given[text] = name
        return name

    def all(self, texts: Iterable[str], pascals: bool = False) -> dict[str, str]:
        """Return the identifiers of several names, by name."""
        return {text: self.take(text, pascal(text) if pascals else camel(text)) for text in texts}
