"""What is installed is what was pinned, and what was pinned is what was asked for."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def pins(root: Path) -> list[Requirement]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def direct(root: Path) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]


def pinned_version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"not a pin: {pin}"
    return specifier.version


def test_every_dependency_is_pinned_inside_its_range(direct: list[Requirement], pins: list[Requirement]) -> None:
    versions = {canonicalize_name(pin.name): pinned_version(pin) for pin in pins}
    for wanted in direct:
        version = versions.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} has no pin in constraints.txt"
        assert wanted.specifier.contains(version), f"{wanted} against the pin {version}"


def test_the_environment_is_the_pinned_one(pins: list[Requirement]) -> None:
    drift = []
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate():
            try:
                installed = Version(metadata.version(pin.name)).public
            except metadata.PackageNotFoundError:
                # A constraint on a package that only another platform's dependencies bring.
                continue
            if installed != pinned_version(pin):
                drift.append(f"{pin.name}: {installed} installed, {pinned_version(pin)} pinned")
    assert not drift, "run make setup:\n" + "\n".join(drift)


def test_npm_lock_names_no_registry_and_one_tfjs_version(root: Path) -> None:
    lock = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all("resolved" not in entry and entry["integrity"] for entry in packages.values())
    tfjs = {name: entry["version"] for name, entry in packages.items() if "/@tensorflow/" in name}
    assert len(tfjs) == 4
    assert set(tfjs.values()) == {"4.22.0"}
