"""Fixtures that every test may use. Plain functions that tests share are in tests/support."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from export.target import load_target
from hydramobile.artifact import Artifact, artifact_folder, digest, list_files, read_artifact, write_artifact
from hydramobile.budget import load_budget
from hydramobile.files import locked, staging_folder
from hydramobile.goldens import build_folder, golden_path, load_golden
from hydramobile.recipes import COMMON, GRAMMAR, recipe
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec
from hydramobile.targets import TARGETS
from support.fixtures import Artifacts, Command, Finished, Golden, ModelDir, OutWith, OwnModel

# Targets that have static int8.
STATIC = tuple(name for name in TARGETS if load_target(name).refuses(recipe("w8a8")) is None)
# The longest files of tests run first, so that no worker starts one when the others are done. The first two need
# different artifacts, so that the workers do not start by waiting for the same export.
LONGEST = (
    "benchmarks/test_web.py",
    "export/test_coreml_w8a8.py",
    "export/test_deterministic.py",
    "benchmarks/test_android.py",
    "benchmarks/test_sabotage.py",
    "benchmarks/test_bisect.py",
    "export/test_cli.py",
    "export/test_coreml.py",
    "export/test_driver.py",
    "export/test_decompositions.py",
    "export/test_coreml_passes.py",
    "export/test_litert_passes.py",
    "export/test_litert.py",
    "benchmarks/test_arm.py",
    "export/test_litert_w8a8.py",
    "export/test_onnx.py",
    "hydramobile/test_properties.py",
    "benchmarks/test_serve.py",
    "benchmarks/test_latency.py",
    "demo/test_server.py",
    "benchmarks/test_parity.py",
    "benchmarks/test_compare.py",
    "benchmarks/test_instructions.py",
)

BuildOnce = Callable[[str, Callable[[Path], None]], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of LONGEST before all others, which keep their order. Fails for a name without a file."""
    home = Path(__file__).parent
    gone = [name for name in LONGEST if not (home / name).is_file()]
    assert not gone, f"no such files of tests: {', '.join(gone)}"
    place = {home / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put temporary files of vendors' libraries where pytest removes them: coremltools leaves its packages behind."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("scratch"))
    yield
    tempfile.tempdir = before


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> BuildOnce:
    """`build_once(name, build)`: the folder `name`, filled by `build(folder)` once per run, by one of the workers.

    It is for artifacts that take seconds or minutes. The folder is shared, so a test that changes a file copies it
    first. An error in `build` leaves nothing behind and is raised in every test that asks for the folder.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "built"

    def once(name: str, build: Callable[[Path], None]) -> Path:
        folder = shared / name
        with locked(shared / f"{name}.lock"):
            if not folder.is_dir():
                with staging_folder(folder) as staging:
                    build(staging)
        return folder

    return once


@pytest.fixture(scope="session")
def model_dir(root: Path) -> ModelDir:
    """`model_dir(name)`: the folder of the portrait or of a net of the tests."""

    def find(name: str) -> Path:
        return root / "models/portrait" if name == "portrait" else root / "tests/nets" / name

    return find


@pytest.fixture(scope="session")
def artifact(build_once: BuildOnce, model_dir: ModelDir) -> Artifacts:
    """`artifact(model, target, recipe)`: the sealed folder, exported once per run by the driver. Copy it to edit it.

    Conversion takes most of the time, so the recipes of the portrait's budget are exported together, and of other nets
    the recipes that tests use. Fails the test with the stage and the reason where the export failed.
    """

    def usual(model: str, target: str) -> tuple[str, ...]:
        if model == "portrait":
            # Named recipes take minutes: they are exported only for a test that asks for one.
            names = load_budget(load_spec(model_dir(model))).recipes(target)
            return tuple(name for name in names if GRAMMAR.fullmatch(name))
        if target not in TARGETS:
            return ()
        return (*COMMON, "w8a8") if target in STATIC else COMMON

    def export_once(model: str, target: str, recipe: str) -> Path:
        listed = usual(model, target)
        together = listed if recipe in listed else (recipe,)

        def make(folder: Path) -> None:
            from export.driver import export

            export(load_spec(model_dir(model)), [target], together, folder, overwrite=False)

        out = build_once(f"export-{model}-{target}-{'-'.join(together)}", make)
        outcome = json.loads((out / model / "export.json").read_text())["outcomes"][f"{target}/{recipe}"]
        if outcome["state"] != "exported":
            log = out / model / target / "export.log"
            pytest.fail(f"{model} {target} {recipe} {outcome['state']}: {outcome['stage']} {outcome['reason']} ({log})")
        return artifact_folder(out, model, target, recipe)

    return export_once


@pytest.fixture(scope="session")
def build(build_once: BuildOnce, model_dir: ModelDir, root: Path) -> Callable[[str], Path]:
    """`build(model)`: an OUT folder that holds the goldens of every judging sample. Copy it to add artifacts."""

    def goldens_once(model: str) -> Path:
        def make(folder: Path) -> None:
            command = [
                sys.executable,
                "-m",
                "hydramobile",
                "goldens",
                "--model",
                str(model_dir(model)),
                "--out",
                str(folder),
            ]
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr

        return build_once(f"goldens-{model}", make)

    return goldens_once


@pytest.fixture(scope="session")
def golden(build: Callable[[str], Path], model_dir: ModelDir) -> Golden:
    """`golden(model)`: the reference's inputs, features and outputs by name, for the first judging sample."""

    def load(model: str) -> dict[str, NDArray[Any]]:
        spec = load_spec(model_dir(model))
        sample = load_samples(spec, "judge")[0]
        found = load_golden(golden_path(build_folder(build(model), spec), sample), spec, sample, spec.size)
        return {**found.inputs, **found.tensors}

    return load


@pytest.fixture(scope="session")
def command(root: Path) -> Command:
    """`command("export", "onnx", "--out", path)`: `python -m export onnx --out path`, from the repository's root."""

    def run(package: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path = root) -> Finished:
        words = [sys.executable, "-m", package, *map(str, arguments)]
        full = {**os.environ, "COLUMNS": "200", **(env or {})}
        done = subprocess.run(words, cwd=cwd, env=full, capture_output=True, text=True, check=False, timeout=300)
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def out_with(tmp_path: Path, build: Callable[[str], Path]) -> OutWith:
    """`out_with(model, folder, ...)`: an OUT folder of this test's own, with goldens and copies of artifact folders."""

    def fill(model: str, *folders: Path) -> Path:
        out = tmp_path / "out"
        shutil.copytree(build(model), out, dirs_exist_ok=True)
        for folder in folders:
            shutil.copytree(folder, artifact_folder(out, model, folder.parent.name, folder.name))
        return out

    return fill


@pytest.fixture(scope="session")
def reseal() -> Callable[..., Artifact]:
    """`reseal(folder, change)`: hash the files of a copy again after an edit, and write a matching artifact.json.

    `change` may alter the description too. A careful forger would do the same.
    """

    def seal(folder: Path, change: Callable[[Artifact], Artifact] = lambda artifact: artifact) -> Artifact:
        changed = replace(change(read_artifact(folder)), files=list_files(folder))
        sealed = replace(changed, sha256=digest(changed))
        write_artifact(folder, sealed)
        return sealed

    return seal


@pytest.fixture
def own_model(tmp_path: Path, model_dir: ModelDir) -> OwnModel:
    """`own_model(name, edits)`: a copy of a model outside the repository, with pieces of its model.toml replaced.

    Its package has a name of its own, so that it never runs the original's code.
    """
    counter = itertools.count()

    def copy(name: str, edits: Mapping[str, str] | None = None) -> Path:
        package = f"own_{name}_{tmp_path.name}_{next(counter)}"
        folder = tmp_path / "elsewhere" / re.sub(r"\W", "_", package)
        shutil.copytree(model_dir(name), folder, ignore=shutil.ignore_patterns("__pycache__"))
        path = folder / "model.toml"
        text = path.read_text(encoding="utf-8").replace(f"{name}.net:build", f"{folder.name}.net:build")
        for old, new in (edits or {}).items():
            assert old in text, f"model.toml of {name} has no {old!r}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        return folder

    return copy
