"""The envelope of all kinds of evidence; the only module that reads and writes evidence files.

A file holds its schema and kind, the hashes of the model's spec and weights, the machine if the rows depend on it,
and the rows. Evidence of another schema is refused, with the command that measures it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypedDict, TypeVar

from benchmarks.evidence.environment import Machine
from benchmarks.evidence.row import Row
from hydramobile.errors import StageError
from hydramobile.files import dump_json, locked, read_json, set_aside, write_text
from hydramobile.spec import ModelSpec

SCHEMA: Literal[2] = 2
R = TypeVar("R", bound=Row)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Generic[R]):
    """All rows of one kind of evidence on one model.

    `machine` is None if the rows do not depend on the machine. `FILE` is the name of the file below `build/<model>`,
    and `COMMAND` is the command that measures it again.
    """

    FILE: ClassVar[str]
    COMMAND: ClassVar[str]
    schema: Literal[2] = SCHEMA
    kind: str
    model: str
    spec_sha256: str
    weights_sha256: str
    machine: Machine | None = None
    results: tuple[R, ...]


E = TypeVar("E", bound=Evidence[Any])


class OlderEvidence(StageError):
    """Evidence that another version of this project wrote."""


class Identity(TypedDict):
    """The fields of the envelope that name the model."""

    model: str
    spec_sha256: str
    weights_sha256: str


def identity_of(spec: ModelSpec) -> Identity:
    return {"model": spec.name, "spec_sha256": spec.sha256, "weights_sha256": spec.weights_sha256}


def plain(value: Any) -> Any:
    """Convert dataclasses to JSON data: dicts, lists, numbers, strings."""
    import msgspec

    return msgspec.to_builtins(value)


def typed(kind: type[T], content: Any) -> T:
    """Convert JSON data to the dataclass `kind`. Raises ValueError that names the invalid field."""
    import msgspec

    return msgspec.convert(content, kind)


def to_json(value: Any) -> str:
    """Serialize dataclasses as indented JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    return dump_json(plain(value)).rstrip("\n")


def write(root: Path, evidence: Evidence[Any]) -> Path:
    """Write evidence into the folder `root` (build/<model>) and return the path of the file."""
    path = root / evidence.FILE
    write_text(path, dump_json(plain(evidence)))
    return path


@contextmanager
def updating(kind: type[Evidence[Any]], root: Path) -> Iterator[None]:
    """Hold the lock of an evidence file, so that commands at the same time do not lose each other's rows.

    Hold it from `read_earlier` to `write`, and not while artifacts are measured.
    """
    with locked(root / f".{kind.FILE}.lock"):
        yield


def read(kind: type[E], path: Path) -> E:
    """Read an evidence file.

    Raises OlderEvidence for another schema, and StageError for a file that is not JSON or not evidence of this kind.
    Both name the file and the command that measures again. The stage is the kind of evidence.
    """
    stage = path.stem
    content = read_json(path, stage)
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema != SCHEMA:
        age = "an older" if schema < SCHEMA else "a newer"
        raise OlderEvidence(
            stage,
            f"{path} was written by {age} version of this project (schema {schema}, this is {SCHEMA}); "
            f"measure anew with: {kind.COMMAND}",
        )
    try:
        return typed(kind, content)
    except ValueError as error:
        raise StageError(stage, f"{path} is not what `{kind.COMMAND}` writes: {error}") from error


def read_earlier(kind: type[E], root: Path) -> E | None:
    """Read the evidence of an earlier run, to which a new run adds its rows; None if there is none.

    Evidence of another schema also gives None: it is replaced, not merged. A damaged file is set aside as `*.broken`,
    with a note on stderr, since the new run makes it again.
    """
    path = root / kind.FILE
    try:
        return read(kind, path) if path.is_file() else None
    except OlderEvidence:
        return None
    except StageError as error:
        set_aside(path, error.message)
        return None


def json_schema(kinds: Mapping[str, type[Evidence[Any]]]) -> dict[str, Any]:
    """Generate one JSON schema (2020-12) for all kinds of evidence from their types."""
    import msgspec

    references, definitions = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Evidence of hydra-mobile, schema {SCHEMA}",
        "oneOf": list(references),
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text(kinds: Mapping[str, type[Evidence[Any]]]) -> str:
    return json.dumps(json_schema(kinds), indent=2, ensure_ascii=False) + "\n"
