"""Rows of earlier runs that still hold, so that a command does not measure again what has not changed.

A row is stored under a key: the hash of everything that it depends on. Every key covers the command, the model's spec
and weights, the sealed artifact, the machine, the versions of all installed packages, and the sources of `benchmarks`
and `hydramobile`. A command adds its own options, the goldens and the limits. The store is `build/<model>/.kept`.

The digest of a stored row finds damage, not forgery: whoever may write the build folder may write rows.
`--again` measures everything anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.evidence.envelope import identity_of, plain, typed
from benchmarks.evidence.row import Row
from benchmarks.machine import identity
from benchmarks.request import Built, Request
from hydramobile.artifact import verify
from hydramobile.errors import StageError
from hydramobile.files import canonical_json, dump_json, sha256_bytes, sha256_file, write_text

FOLDER = ".kept"
ROOT = Path(__file__).resolve().parent.parent
R = TypeVar("R", bound=Row)


class KeptRows(Generic[R]):
    """The stored rows of one command. `basis` holds everything, beyond the artifact, that all rows depend on.

    With `request.again`, no row is found, and all are stored.
    """

    def __init__(self, request: Request, command: str, kind: type[R], basis: Any = None) -> None:
        self.request = request
        self.command = command
        self.kind = kind
        self.basis = [command, plain(identity()), identity_of(request.spec), packages(), sources(), basis]

    def find(self, built: Built, *more: Any) -> tuple[R, ...]:
        """Return the stored rows of an artifact, or () where there are none or the artifact's files changed.

        `more` is what these rows alone depend on, such as the runtime. `kept` of each row is the time of measurement.
        """
        path = self.path(built, *more)
        if self.request.again or not path.is_file():
            return ()
        try:
            verify(built.folder, built.artifact)
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["digest"] != digest(content["rows"]):
                return ()
            return tuple(replace(typed(self.kind, row), kept=content["measured"]) for row in content["rows"])
        except (StageError, OSError, ValueError, KeyError, TypeError):
            return ()  # measured again, and replaced

    def store(self, rows: Sequence[R], built: Built, *more: Any) -> None:
        """Store the rows of an artifact, unless they are kept ones or hold no measurement.

        A failure is measured again the next time: it may have been one of the machine.
        """
        verdicts = {getattr(row, "verdict", "") for row in rows}
        if verdicts <= {"unavailable"} or "failed" in verdicts or any(row.kept for row in rows):
            return
        content = plain(list(rows))
        measured = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        document = {"measured": measured, "digest": digest(content), "rows": content}
        write_text(self.path(built, *more), dump_json(document))

    def path(self, built: Built, *more: Any) -> Path:
        key = sha256_bytes(canonical_json([self.basis, built.artifact.sha256, *more]).encode())
        return self.request.root / FOLDER / self.command / f"{key[:40]}.json"


def digest(rows: Any) -> str:
    return sha256_bytes(canonical_json(rows).encode())


def since(rows: Sequence[Row]) -> str:
    """Return the words of a progress message on kept rows."""
    return f"unchanged, kept from {rows[0].kept}"


def noted(verdict: str, rows: Sequence[Row]) -> str:
    """Return the verdict, with the number of artifacts whose rows are all kept and the time of the oldest."""
    fresh = {row.pair for row in rows if not row.kept and row.artifact}
    unchanged = {row.pair: row.kept for row in rows if row.kept and row.pair not in fresh}
    if not unchanged:
        return verdict
    return f"{verdict} ({len(unchanged)} unchanged, kept from {min(unchanged.values())} on; --again measures anew)"


@cache
def packages() -> str:
    """Return the hash of all installed Python packages and of the lock of Node's: a new runtime judges anew.

    Playwright's version fixes the browser's.
    """
    installed = sorted(f"{each.metadata['Name']}=={each.version}" for each in distributions())
    lock = ROOT / "node_modules" / ".package-lock.json"
    return sha256_bytes(canonical_json([installed, sha256_file(lock) if lock.is_file() else ""]).encode())


@cache
def sources() -> str:
    """Return the hash of the code that measures: `benchmarks` and `hydramobile`, JavaScript and pages included."""
    kinds = (".py", ".js", ".mjs", ".html", ".json")
    folders = [ROOT / name for name in ("benchmarks", "hydramobile")]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in kinds)
    return sha256_bytes(canonical_json({str(path.relative_to(ROOT)): sha256_file(path) for path in files}).encode())
