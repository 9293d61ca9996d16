"""Evidence files: typed, of one schema, and refused with the command that measures anew where they are older."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import app
from benchmarks.cost.run import run_cost
from benchmarks.evidence.envelope import (
    SCHEMA,
    OlderEvidence,
    identity_of,
    json_schema,
    read,
    read_earlier,
    schema_text,
    to_json,
    write,
)
from benchmarks.evidence.kinds import KINDS
from benchmarks.evidence.parity import ParityEvidence, ParityRow
from benchmarks.evidence.size import SizeEvidence
from benchmarks.grid.run import Rounds, run_grid
from benchmarks.latency.run import Timing, run_latency
from benchmarks.parity.run import run_parity
from benchmarks.profile.run import run_profile
from benchmarks.request import Request
from benchmarks.size import run_size
from hydramobile.errors import StageError
from hydramobile.measures import Measure
from hydramobile.spec import ModelSpec, load_spec

SCHEMA_FILE = "docs/evidence.schema.json"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
}


@pytest.fixture(scope="module")
def spec(model_dir: Callable[[str], Path]) -> ModelSpec:
    return load_spec(model_dir("classifier"))


@pytest.fixture(scope="module")
def measured(
    build_once: Callable[..., Path], build: Callable[[str], Path], artifact: Callable[..., Path], spec: ModelSpec
) -> Path:
    """build/<model> of the classifier in ONNX, with every kind of evidence that this computer makes quickly."""

    def make(folder: Path) -> None:
        shutil.copytree(build("classifier"), folder, dirs_exist_ok=True)
        shutil.copytree(artifact("classifier", "onnx", "float32"), folder / "classifier/onnx/float32")
        request = Request(spec, folder, runtimes=("onnxruntime",))
        run_parity(request)
        run_size(request)
        run_cost(request)
        run_latency(request, Timing(0.05))
        run_grid(request, Rounds(1, 0.05))
        run_profile(request)

    return build_once("evidence-of-all-kinds", make) / "classifier"


def fits(schema: dict[str, Any], value: Any, defined: dict[str, Any]) -> str:
    """Why a value does not fit a JSON schema of the keywords that ours uses; "" where it does."""
    if reference := schema.get("$ref"):
        return fits(defined[reference.rpartition("/")[2]], value, defined)
    if "anyOf" in schema:
        reasons = [fits(option, value, defined) for option in schema["anyOf"]]
        return "" if "" in reasons else f"none of {reasons}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is not in {schema['enum']}"
    kind = schema.get("type")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("number", "integer"):
        return "" if number and (kind == "number" or isinstance(value, int)) else f"{value!r} is no {kind}"
    if kind and not isinstance(value, TYPES[kind]):
        return f"{value!r} is no {kind}"
    if kind == "array":
        items = [*schema.get("prefixItems", []), *[schema.get("items", {})] * len(value)]
        found = [fits(item or {}, each, defined) for item, each in zip(items, value, strict=False)]
    elif kind == "object":
        missing = [f"{name} is missing" for name in schema.get("required", []) if name not in value]
        rest = schema.get("additionalProperties", {})
        named = schema.get("properties", {})
        found = [*missing, *(fits(named.get(key, rest) or {}, each, defined) for key, each in value.items())]
    else:
        found = []
    return next(filter(None, found), "")


def test_the_committed_schema_is_that_of_the_types(root: Path) -> None:
    """Renew it with: python -m benchmarks schema"""
    assert (root / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(KINDS)
    document = json_schema(KINDS)
    assert str(SCHEMA) in document["title"]
    kinds = [document["$defs"][one["$ref"].rpartition("/")[2]]["properties"] for one in document["oneOf"]]
    assert [properties["kind"]["enum"] for properties in kinds] == [[name] for name in KINDS]
    assert all(properties["schema"]["enum"] == [SCHEMA] for properties in kinds)


@pytest.mark.parametrize("name", ["parity", "size", "cost", "latency", "grid", "profile"])
def test_real_evidence_fits_the_schema_and_comes_back_as_it_was(measured: Path, name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    content = json.loads((measured / kind.FILE).read_text(encoding="utf-8"))
    document = json_schema(KINDS)
    definition = next(one for one in document["oneOf"] if one["$ref"].endswith(f"/{kind.__name__}"))
    assert fits(definition, content, document["$defs"]) == ""
    assert content["results"] and content["kind"] == name
    # The validator of this test can fail.
    assert fits(definition, {**content, "kind": "another"}, document["$defs"])
    assert fits(definition, {**content, "results": [{**content["results"][0], "stage": 1}]}, document["$defs"])

    evidence = read(kind, measured / kind.FILE)
    write(tmp_path, evidence)
    assert (tmp_path / kind.FILE).read_bytes() == (measured / kind.FILE).read_bytes()


def test_every_kind_has_a_file_and_a_command_that_exists(root: Path) -> None:
    made = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert len({kind.FILE for kind in KINDS.values()}) == len(KINDS)
    for kind in KINDS.values():
        for words in map(str.split, kind.COMMAND.split(" or ")):
            assert words[1] in made if words[0] == "make" else words[3] in commands, kind.COMMAND


def test_older_evidence_is_refused_with_the_command_that_measures_anew(measured: Path, tmp_path: Path) -> None:
    content = json.loads((measured / "parity.json").read_text(encoding="utf-8"))
    path = tmp_path / "parity.json"
    path.write_text(json.dumps({**content, "schema": 1}))
    with pytest.raises(OlderEvidence, match=r"written by an older version .*; measure anew with: make parity"):
        read(ParityEvidence, path)
    # A new run replaces such a file instead of adding to it.
    assert read_earlier(ParityEvidence, tmp_path) is None
    path.write_text(json.dumps({**content, "schema": SCHEMA + 1}))
    with pytest.raises(OlderEvidence, match="written by a newer version"):
        read(ParityEvidence, path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not readable JSON"),
        ("[]", "is not what `make bench` writes"),
        ('{"schema": "two"}', "is not what `make bench` writes"),
        ('{"schema": 2, "kind": "parity"}', r"Invalid enum value 'parity' - at `\$\.kind`"),
        ('{"schema": 2, "kind": "size", "results": [{"target": 1}]}', r"at `\$\.results\[0\]\.target`"),
    ],
)
def test_what_is_no_evidence_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "size.json").write_text(text)
    with pytest.raises(StageError, match=reason):
        read(SizeEvidence, tmp_path / "size.json")
    assert read_earlier(SizeEvidence, tmp_path) is None
    assert (tmp_path / "size.json.broken").read_text() == text


def test_a_number_that_is_none_is_never_written(tmp_path: Path, spec: ModelSpec) -> None:
    """JSON has no NaN: a file with one would be read by nobody."""
    row = ParityRow(
        target="onnx",
        recipe="w8",
        artifact="",
        measures=(Measure("scores", "max_abs", float("nan"), 0.0, None, "a"),),
    )
    evidence = ParityEvidence(**identity_of(spec), samples=(), samples_asked=0, results=(row,))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path, evidence)
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(evidence)
    assert not (tmp_path / "parity.json").exists()
