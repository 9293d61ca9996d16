"""Read TOML and JSON tables strictly: every value is asked for by name and type, and unknown keys are errors.

These files are edited by hand. The error for a typo says what was found, where, and what is known.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydramobile.errors import StageError
from hydramobile.files import canonical_json, refuse_special, sha256_bytes

MISSING = object()


class Table:
    """One table of a parsed file. `where` names it in errors, such as "model.toml [tensors.image]"."""

    def __init__(self, data: Any, where: str, stage: str) -> None:
        self.where = where
        self.stage = stage
        if not isinstance(data, Mapping):
            raise self.error(f"must be a table, found {kind_of(data)}")
        self.data: Mapping[str, Any] = data
        self.asked: set[str] = set()

    def error(self, message: str) -> StageError:
        return StageError(self.stage, f"{self.where}: {message}")

    def value(self, key: str, default: Any = MISSING) -> Any:
        self.asked.add(key)
        found = self.data.get(key, default)
        if found is MISSING:
            raise self.error(f"{key!r} is missing (present: {', '.join(map(str, self.data)) or 'nothing'})")
        return found

    def string(self, key: str, default: Any = MISSING) -> str:
        found: str = self.typed(key, str, "a string", default)
        return found

    def flag(self, key: str, default: Any = MISSING) -> bool:
        found: bool = self.typed(key, bool, "true or false", default)
        return found

    def whole(self, key: str, default: Any = MISSING) -> int:
        found = self.value(key, default)
        if isinstance(found, bool) or not isinstance(found, int):
            raise self.error(f"{key!r} must be a whole number, found {kind_of(found)}")
        return found

    def number(self, key: str, default: Any = MISSING) -> float:
        found = self.value(key, default)
        if not is_number(found):
            raise self.error(f"{key!r} must be a finite number, found {kind_of(found)} {found!r}")
        return float(found)

    def limits(self, key: str, default: Any = MISSING) -> tuple[float, float] | None:
        """Return (low, high) of a list [low, high] with low < high, or None where the value is None."""
        found = self.value(key, default)
        if found is None:
            return None
        if not isinstance(found, list) or len(found) != 2 or not all(map(is_number, found)) or found[0] >= found[1]:
            raise self.error(f"{key!r} must be [low, high] with low < high, found {found!r}")
        return float(found[0]), float(found[1])

    def strings(self, key: str, default: Any = MISSING) -> tuple[str, ...]:
        found = self.value(key, default)
        if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
            raise self.error(f"{key!r} must be a list of strings, found {found!r}")
        return tuple(found)

    def items(self, key: str, default: Any = MISSING) -> list[Any]:
        found = self.value(key, default)
        if not isinstance(found, list | tuple):
            raise self.error(f"{key!r} must be a list, found {kind_of(found)}")
        return list(found)

    def one_of(self, key: str, choices: tuple[str, ...], default: Any = MISSING) -> str:
        found = self.string(key, default)
        if found not in choices:
            near = difflib.get_close_matches(found, choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise self.error(f"{key!r} is {found!r}{hint} (known: {', '.join(choices)})")
        return found

    def typed(self, key: str, kind: type, words: str, default: Any) -> Any:
        found = self.value(key, default)
        if found is default and default is not MISSING:
            return found
        if not isinstance(found, kind):
            raise self.error(f"{key!r} must be {words}, found {kind_of(found)}")
        return found

    def table(self, key: str, default: Any = MISSING) -> Table:
        return Table(self.value(key, default), f"{self.where} [{key}]", self.stage)

    def tables(self, key: str, default: Any = MISSING) -> Iterator[tuple[str, Table]]:
        """Yield the named tables below `key`, in the order of the file."""
        outer = self.table(key, default)
        for name, data in outer.data.items():
            yield str(name), Table(data, f"{self.where} [{key}.{name}]", self.stage)

    def rows(self, key: str, default: Any = MISSING) -> Iterator[Table]:
        """Yield the tables of an array of tables."""
        for index, data in enumerate(self.items(key, default)):
            yield Table(data, f"{self.where} [[{key}]] #{index + 1}", self.stage)

    def done(self) -> None:
        """Raise StageError where the table holds a key that was never asked for."""
        left = [str(key) for key in self.data if key not in self.asked]
        if left:
            near = difflib.get_close_matches(left[0], sorted(self.asked), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise self.error(f"unknown key {left[0]!r}{hint} (known: {', '.join(sorted(self.asked))})")


def is_number(value: Any) -> bool:
    """Return whether `value` is a number that a finite float can hold. Booleans are not numbers."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond 1.8e308
        return False


def kind_of(value: Any) -> str:
    return {str: "a string", bool: "a boolean", int: "a whole number", float: "a number", list: "a list"}.get(
        type(value), "a table" if isinstance(value, Mapping) else type(value).__name__
    )


def read_toml(path: Path, stage: str) -> Table:
    """Parse a TOML file into a Table. Raises StageError(`stage`) for a missing or malformed file."""
    refuse_special(path, stage)
    try:
        return Table(tomllib.loads(path.read_text(encoding="utf-8")), path.name, stage)
    except FileNotFoundError as error:
        raise StageError(stage, f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: encoding, syntax, a number too long to read
        raise StageError(stage, f"{path} is not readable TOML: {error}") from error


def content_hash(top: Table) -> str:
    """Return the hash of the parsed content. Raises StageError for NaN and infinity."""
    try:
        return sha256_bytes(canonical_json(plain(top.data)).encode())
    except ValueError as error:
        raise top.error("holds a number that is not finite (nan or inf)") from error


def plain(value: Any) -> Any:
    """Return TOML data as JSON data. Dates become strings; all else is JSON already."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else str(value)
