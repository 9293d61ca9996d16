"""Read parity.json's verdicts on an artifact, for programs that hand its files on: the demo, and packages for apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydramobile import signatures
from hydramobile.files import read_json
from hydramobile.toml_table import Table

Rows = Sequence[Mapping[str, Any]]


def read_verdicts(path: Path) -> Rows:
    """Return the rows of parity.json; none where the file is absent.

    Raises StageError("parity") for a damaged file, StageError("signature") where a signature is asked for
    (hydramobile/signatures.py) and is not right.
    """
    if not path.is_file():
        return ()
    signatures.check(path)
    rows = list(Table(read_json(path, "parity"), str(path), "parity").rows("results"))
    for row in rows:
        for key in ("artifact", "verdict", "runtime", "stage", "reason", "mode", "evidence", "entry"):
            row.string(key)
        row.whole("samples")
        for measure in row.rows("measures"):
            for key in ("output", "metric"):
                measure.string(key)
            for key in ("value", "limit"):
                if measure.value(key) is not None:
                    measure.number(key)
    return [row.data for row in rows]


def rows_of(rows: Rows, sha256: str) -> Rows:
    """Return the rows on the artifact with this hash."""
    return [row for row in rows if row["artifact"] == sha256]


def first_failure(rows: Rows) -> str:
    """Return the first mismatch or failure among an artifact's verdicts, or ""."""
    for row in rows:
        if row["verdict"] in ("mismatch", "failed"):
            return f"{row['verdict']} in {row['runtime'] or row['stage']}: {row['reason']}"
    return ""


def passed(rows: Rows) -> Rows:
    """Return the passes that compared outputs with samples."""
    return [row for row in rows if row["verdict"] == "pass" and row["mode"] != "drawn" and row["measures"]]


def passed_runtimes(rows: Rows) -> tuple[str, ...]:
    """Return the runtimes in which an artifact passed. A pass that compared nothing with samples does not count."""
    return tuple(sorted({str(row["runtime"]) for row in passed(rows)}))


def reason_unproven(rows: Rows) -> str:
    """Return why the rows of one artifact do not prove it, or "" where they do: none failed, and one passed."""
    return first_failure(rows) or ("" if passed_runtimes(rows) else "its hash has no verdict in parity.json")
