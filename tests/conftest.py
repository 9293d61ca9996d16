"""Fixtures that every test may use. Helpers live here as fixtures: tests never import one another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.artifact import artifact_folder
from models.files import locked, staging_folder
from models.goldens import build_folder, golden_path, load_golden
from models.recipes import COMMON
from models.samples import load_samples
from models.spec import load_spec

BuildOnce = Callable[[str, Callable[[Path], None]], Path]
Tensor = NDArray[np.generic]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> BuildOnce:
    """`build_once(name, build)`: the folder `name`, filled by `build(folder)` once a run, however many workers ask.

    For artifacts that take seconds or minutes to make. The folder is shared: a test that changes a file copies it
    first. An error in `build` leaves nothing behind and is raised in every test that asks.
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
def model_dir(root: Path) -> Callable[[str], Path]:
    """`model_dir(name)`: the folder of the portrait or of a net of the tests."""

    def find(name: str) -> Path:
        return root / "models/portrait" if name == "portrait" else root / "tests/nets" / name

    return find


@pytest.fixture(scope="session")
def artifact(build_once: BuildOnce, model_dir: Callable[[str], Path]) -> Callable[[str, str, str], Path]:
    """`artifact(model, target, recipe)`: the sealed folder, exported once a run through the driver. Copy it to edit it.

    Converting is the cost, so the common recipes of the portrait are made together; other nets get what is asked.
    Fails the test with the stage and the reason where the export failed.
    """

    def export_once(model: str, target: str, recipe: str) -> Path:
        together = COMMON if model == "portrait" and recipe in COMMON else (recipe,)

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
def build(build_once: BuildOnce, model_dir: Callable[[str], Path], root: Path) -> Callable[[str], Path]:
    """`build(model)`: an OUT folder that holds the goldens of every judging sample. Copy it to add artifacts."""

    def goldens_once(model: str) -> Path:
        def make(folder: Path) -> None:
            command = [
                sys.executable,
                "-m",
                "models",
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
def golden(build: Callable[[str], Path], model_dir: Callable[[str], Path]) -> Callable[[str], dict[str, Tensor]]:
    """`golden(model)`: the reference's inputs, features and outputs by name, for the first judging sample."""

    def load(model: str) -> dict[str, Tensor]:
        spec = load_spec(model_dir(model))
        sample = load_samples(spec, "judge")[0]
        found = load_golden(golden_path(build_folder(build(model), spec), sample), spec, sample, spec.size)
        return {**found.inputs, **found.tensors}

    return load
