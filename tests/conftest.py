"""Fixtures that every test may use. Helpers live here as fixtures: tests never import one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.files import locked, staging_folder

BuildOnce = Callable[[str, Callable[[Path], None]], Path]


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
