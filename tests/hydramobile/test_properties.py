"""Generated bad input: any content of a file or name ends in a HydraError with a message, never in another exception.

On the command line it ends in a verdict with exit code 2 or 3, never in a traceback.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hydramobile.artifact import SCHEMA, Artifact, Entry, FileRecord, Port, digest, read_artifact
from hydramobile.budget import load_budget
from hydramobile.cli import run
from hydramobile.errors import ExitCode, HydraError, UsageError
from hydramobile.files import canonical_json, sha256_bytes
from hydramobile.recipe_files import FILE, read_named
from hydramobile.recipes import recipe
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec, load_spec
from hydramobile.targets import resolve_pairs

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
    """Return the path of every value inside nested dicts and lists."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def mutate(data: st.DataObject, document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `document` in which one to three values are replaced or dropped, or unknown keys are added."""
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = places(changed)
        if not spots:
            break
        *way, last = data.draw(st.sampled_from(spots))
        holder: Any = changed
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
    """Run `act`, which must succeed or raise a HydraError with a message and an exit code of 2 or 3."""
    try:
        act()
    except HydraError as error:
        assert str(error).strip()
        assert error.exit_code in (ExitCode.USAGE, ExitCode.STAGE)


def toml(value: Any) -> str:
    """Return a value as inline TOML. None and lone surrogates, which TOML lacks, become text."""
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


def command(package: str, words: Sequence[str]) -> tuple[int, str]:
    """Run `python -m package words...` in this process and return its exit code and output."""
    program = importlib.import_module(f"{package}.__main__")
    arguments = list(words)
    if package == "export":
        arguments = program.insert_default_verb(arguments)
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        pytest.raises(SystemExit) as end,
    ):
        patch.setattr(sys, "argv", [package, *arguments])
        run(program.app)
    return int(end.value.code or 0), printed.getvalue()


def must_refuse(package: str, words: Sequence[str]) -> str:
    """Return the reason of a command that must end with exit code 2 or 3 and without a traceback."""
    code, printed = command(package, words)
    assert code in (ExitCode.USAGE, ExitCode.STAGE), (words, printed)
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert last.startswith(f"verdict: {code} ") and len(last) > len("verdict: 2 "), last
    assert "unexpected" not in last
    return last


OF_A_MODEL = (
    ("export", "onnx", "--recipe", "float32"),
    ("export", "all", "--json"),
    ("benchmarks", "parity"),
    ("benchmarks", "size", "--json"),
    ("benchmarks", "grid"),
    ("benchmarks", "report"),
    ("hydramobile", "goldens"),
)


@SETTINGS
@given(data=st.data(), words=st.sampled_from(OF_A_MODEL))
def test_commands_on_a_broken_model(
    data: st.DataObject, words: tuple[str, ...], write_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_model()
    (folder / "model.toml").write_text(
        document(mutate(data, tomllib.loads((folder / "model.toml").read_text()))), encoding="utf-8"
    )
    try:
        load_spec(folder)
    except HydraError:
        package, *more = words
        must_refuse(package, [*more, "--model", str(folder), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


WORDS = st.sampled_from(
    ["onnx", "tfjs", "web", "make", "parity", "size", "inspect", "compare", "float32", "w8", "onnx/w8", "nan", "-1"]
) | st.sampled_from(
    ["--recipe", "--out", "--only", "--json", "--rounds", "--gate", "--overwrite", "--model", "--", "-x"]
)
# Typed by a person: the shell cannot pass a NUL, and click refuses surrogates by itself.
TYPED = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@SETTINGS
@given(package=st.sampled_from(["export", "benchmarks", "hydramobile"]), words=st.lists(WORDS | TYPED, max_size=6))
def test_commands_of_any_words(package: str, words: list[str], tmp_path: Path) -> None:
    """The last model does not exist, so that every choice of arguments is an error."""
    unsound = [word for word in words if word not in ("list", "doctor", "--help")]
    code, printed = command(package, [*unsound, "--model", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert code in (ExitCode.USAGE, ExitCode.STAGE), (unsound, printed)
    assert "Traceback" not in printed
    assert printed.splitlines()[-1].startswith(f"verdict: {code} ")
    assert not (tmp_path / "out").exists()


@SETTINGS
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10).filter(lambda n: n != ""))
def test_commands_with_any_recipe(name: str, root: Path, tmp_path: Path) -> None:
    try:
        recipe(name)
    except UsageError:
        if name in read_named(root / "models/portrait" / FILE):
            return
        reason = must_refuse("export", ["onnx", f"--recipe={name}", "--out", str(tmp_path)])
        assert "no recipe" in reason and "float16" in reason


@SETTINGS
@given(data=st.data(), words=st.sampled_from([("export", "inspect"), ("benchmarks", "size")]))
def test_commands_on_an_edited_artifact(
    data: st.DataObject, words: tuple[str, ...], root: Path, write_model: Callable[..., Path]
) -> None:
    sealed = replace(ARTIFACT, sha256=digest(ARTIFACT))
    content = mutate(data, json.loads(json.dumps({"schema": SCHEMA, **asdict(sealed)})))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "small/onnx/float32"
        folder.mkdir(parents=True)
        (folder / "artifact.json").write_text(json.dumps(content))
        try:
            read_artifact(folder)
        except HydraError:
            more = ("--model", str(write_model()), "--out", name) if words[0] == "benchmarks" else (str(folder),)
            must_refuse(words[0], [*words[1:], *more])
