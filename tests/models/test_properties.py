"""Generated bad input: whatever is in a file or a name, the answer is a HydraError with a message, never another
exception."""

from __future__ import annotations

import copy
import json
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.artifact import SCHEMA, Artifact, Entry, FileRecord, Port, digest, read_artifact
from models.budget import load_budget
from models.errors import ExitCode, HydraError, UsageError
from models.files import canonical_json, sha256_bytes
from models.recipes import recipe
from models.samples import load_samples
from models.spec import ModelSpec, load_spec
from models.targets import resolve_pairs

SETTINGS = settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", "..", "../x", "/", "a/b", "a\0b", "ünï", "image", "alpha", "body", "feature", "NCHW", "float32", "H", "\ud800"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from([0, -1, 10**30, 10**400]) | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside nested dicts and lists."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def mutate(data: st.DataObject, document: dict[str, Any]) -> dict[str, Any]:
    """A copy of `document` with one to three values replaced, dropped, or joined by an unknown key."""
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = places(changed)
        if not spots:
            break
        *way, last = data.draw(st.sampled_from(spots))
        holder = changed
        for key in way:
            holder = holder[key]
        action = data.draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if action == "replace":
            holder[last] = data.draw(VALUES)
        elif action == "drop":
            del holder[last]
        elif isinstance(holder, dict):
            holder[data.draw(TEXTS)] = data.draw(VALUES)
        else:
            holder.append(data.draw(VALUES))
    return changed


def must_be_clear(act: Callable[[], object]) -> None:
    """`act` succeeds, or raises a HydraError with a message and an exit code of 2 or 3."""
    try:
        act()
    except HydraError as error:
        assert str(error).strip()
        assert error.exit_code in (ExitCode.USAGE, ExitCode.STAGE)


def toml(value: Any) -> str:
    """A value as inline TOML; None and lone surrogates, which TOML cannot hold, become text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value).encode("utf-8", "replace").decode(), ensure_ascii=True).replace("\x7f", "\\u007f")


def document(content: dict[str, Any]) -> str:
    return "\n".join(f"{toml(str(key))} = {toml(value)}" for key, value in content.items())


def everything(folder: Path) -> ModelSpec:
    spec = load_spec(folder)
    spec.judged(), spec.edges(), spec.inputs()
    load_budget(spec)
    return spec


@SETTINGS
@given(data=st.data())
def test_model_toml(data: st.DataObject, write_model: Callable[..., Path]) -> None:
    folder = write_model()
    content = mutate(data, tomllib.loads((folder / "model.toml").read_text()))
    (folder / "model.toml").write_text(document(content), encoding="utf-8")
    must_be_clear(lambda: everything(folder))


@SETTINGS
@given(text=st.text(max_size=200) | st.binary(max_size=200))
@example(text="a = " + "[" * 50_000)
@example(text="a = " + "9" * 5000)
def test_model_toml_of_any_bytes(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "model.toml").write_bytes(raw)
        with pytest.raises(HydraError):
            load_spec(Path(name))


@SETTINGS
@given(data=st.data())
def test_budget_and_samples(data: st.DataObject, write_model: Callable[..., Path]) -> None:
    budget = {
        "ship": {"onnx": ["float32"]},
        "candidates": {"tfjs": ["w8"]},
        "limit": [{"recipe": "w8", "output": "alpha", "metric": "iou", "limit": 0.995, "reason": "r", "targets": []}],
    }
    samples = {
        "sample": [{"file": "a.png", "split": "judge", "sha256": "0" * 64, "source": "s", "license": "l"}],
    }
    folder = write_model()
    (folder / "samples").mkdir(exist_ok=True)
    (folder / "budget.toml").write_text(document(mutate(data, budget)), encoding="utf-8")
    (folder / "samples/samples.toml").write_text(document(mutate(data, samples)), encoding="utf-8")
    spec = load_spec(folder)
    must_be_clear(lambda: load_budget(spec))
    must_be_clear(lambda: load_samples(spec, "judge"))


PORT = Port("image", "image", (1, 3, 8, 6), "NCHW", "float32", "NCHW", (0.0, 1.0), "rgb-photo")
ARTIFACT = Artifact(
    *("small", "1.0.0", "onnx", "float32", "MIT", ("me",), "text", (8, 6), "a" * 64, "b" * 64, "c" * 64),
    entries=(Entry("body", "body", ("body",), "body.bin", (PORT,), (replace(PORT, name="y", judge="alpha-matte"),)),),
    edges=(),
    preprocessing={"resize": "bilinear"},
    requires={"opset": "20"},
    toolchain={},
    golden={},
    notes=(),
    files=(FileRecord("body.bin", 3, "d" * 64),),
)


@SETTINGS
@given(data=st.data(), forged=st.booleans())
def test_artifact_json(data: st.DataObject, forged: bool) -> None:
    sealed = replace(ARTIFACT, sha256=digest(ARTIFACT))
    content = mutate(data, json.loads(json.dumps({"schema": SCHEMA, **asdict(sealed)})))
    if forged and "sha256" in content:
        # A forger seals what he wrote, so that the checks behind the seal are reached.
        inner = {key: value for key, value in content.items() if key not in ("schema", "sha256")}
        try:
            content["sha256"] = sha256_bytes(canonical_json(inner).encode())
        except (ValueError, TypeError):
            return
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "artifact.json").write_text(json.dumps(content))
        must_be_clear(lambda: read_artifact(Path(name)))


@SETTINGS
@given(text=st.text(max_size=200))
@example(text='{"schema": ' + "9" * 5000 + "}")
@example(text='{"schema": ' * 50_000)
def test_artifact_json_of_any_text(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "artifact.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(HydraError):
            read_artifact(Path(name))


@SETTINGS
@given(name=st.text(max_size=10) | st.from_regex(r"(w|p|float)[0-9]{0,3}([ag][0-9]{0,6})?", fullmatch=True))
def test_recipe_names(name: str) -> None:
    try:
        parsed = recipe(name)
    except UsageError as error:
        assert "no recipe" in str(error)
        return
    assert parsed.name == name
    assert 1 <= parsed.weight_bits <= 32
    assert parsed.activation_bits in (0, 8, 16)


@SETTINGS
@given(name=st.text(max_size=12) | st.from_regex(r"(onnx|web|all)(/[a-z0-9]{0,4})?", fullmatch=True))
def test_choices_of_targets(name: str) -> None:
    must_be_clear(lambda: resolve_pairs([name]))
