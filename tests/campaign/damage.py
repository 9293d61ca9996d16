"""Damage documents and files, from a seed."""

from __future__ import annotations

import copy
import json
import math
import random
from typing import Any

STRINGS = (
    "",
    "..",
    "../x",
    "/",
    "/etc/passwd",
    "a/b",
    "a\0b",
    "[/x]",
    "ünï",
    "H",
    "NCHW",
    "x" * 5000,
    "\x1b[31m",
    "$(id)",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e300, math.inf, math.nan, True)


def scalar(rng: random.Random) -> Any:
    return rng.choice([*STRINGS, *NUMBERS, None])


def value(rng: random.Random) -> Any:
    """Return a scalar, or a list or table of scalars."""
    kind = rng.random()
    if kind < 0.6:
        return scalar(rng)
    if kind < 0.8:
        return [scalar(rng) for _ in range(rng.randrange(4))]
    return {rng.choice(STRINGS): scalar(rng) for _ in range(rng.randrange(3))}


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside nested tables and lists."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return ([path] if path else []) + [spot for key, item in items for spot in places(item, (*path, key))]


def change(document: Any, rng: random.Random) -> Any:
    """Return a copy of a document in which one to three values are replaced or dropped, or unknown keys are added."""
    changed = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        spots = places(changed)
        if not spots:
            return value(rng)
        *way, last = rng.choice(spots)
        holder = changed
        for key in way:
            holder = holder[key]
        action = rng.choice(("replace", "replace", "drop", "add"))
        if action == "replace":
            holder[last] = value(rng)
        elif action == "drop":
            del holder[last]
        elif isinstance(holder, dict):
            holder[rng.choice(STRINGS)] = value(rng)
        else:
            holder.append(value(rng))
    return changed


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes that were cut, emptied, overwritten, doubled or flipped somewhere."""
    if not data:
        return rng.randbytes(64)
    how = rng.randrange(7)
    spot = rng.randrange(len(data))
    if how == 0:
        return data[:spot]
    if how == 1:
        return b""
    if how == 2:
        return data[:spot] + rng.randbytes(min(64, len(data) - spot)) + data[spot + 64 :]
    if how == 3:
        return data + data[:spot]
    if how == 4:
        return rng.randbytes(min(len(data), 4096))
    if how == 5:
        return data[:spot] + b"\0" * min(512, len(data) - spot) + data[spot + 512 :]
    flipped = bytearray(data)
    for _ in range(rng.randint(1, 20)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def toml(node: Any) -> str:
    """Return a value as inline TOML. None, which TOML lacks, becomes an empty string."""
    if isinstance(node, dict):
        return "{" + ", ".join(f"{quoted(str(key))} = {toml(item)}" for key, item in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(toml, node)) + "]"
    if isinstance(node, bool):
        return str(node).lower()
    if isinstance(node, float):
        return "nan" if math.isnan(node) else ("-inf" if node < 0 else "inf") if math.isinf(node) else repr(node)
    return str(node) if isinstance(node, int) else quoted("" if node is None else str(node))


def quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def toml_document(table: Any) -> str:
    """Return a document of one line per key of the top table."""
    if not isinstance(table, dict):
        return toml(table)
    return "".join(f"{quoted(str(key))} = {toml(item)}\n" for key, item in table.items())
