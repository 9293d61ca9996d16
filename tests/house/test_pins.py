"""What is installed is what was pinned, and what was pinned is what was asked for."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.lock import lines_of


@pytest.fixture(scope="module")
def pins(root: Path) -> list[Requirement]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def direct(root: Path) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]


@pytest.fixture(scope="module")
def optional(root: Path) -> list[Requirement]:
    """What extra steps of scripts/setup.sh install, each to the letter."""
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return [Requirement(line) for name, lines in extras.items() if name != "dev" for line in lines]


# Where an extra is not installed, no metadata says which package its import name belongs to.
OF_EXTRAS = {"coreai": ["coreai-core"], "coreai_torch": ["coreai-torch"]}
PACKAGES = ("hydramobile", "reference", "export", "benchmarks", "demo", "ship", "scripts")


def imported_names(path: Path) -> set[str]:
    """The top-level packages a file imports by an import statement, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


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


def test_every_import_is_a_declared_dependency(
    root: Path, direct: list[Requirement], optional: list[Requirement]
) -> None:
    """Nothing relies on a package that only happens to be there because another one brings it."""
    declared = {canonicalize_name(requirement.name) for requirement in (*direct, *optional)}
    providers = {**OF_EXTRAS, **metadata.packages_distributions()}
    own = {*PACKAGES, "support", "campaign"}  # tests/ is on the import path of the tests
    undeclared = []
    for folder in (*PACKAGES, "tests"):
        for path in sorted((root / folder).rglob("*.py")):
            beside = {file.stem for file in path.parent.glob("*.py")}  # a model's folder is on sys.path
            for name in sorted(imported_names(path) - own - beside - set(sys.stdlib_module_names)):
                found = {canonicalize_name(each) for each in providers.get(name, [name])}
                if not found & declared:
                    undeclared.append(f"{path.relative_to(root)}: {name} (of {', '.join(sorted(found))})")
    assert not undeclared, "not among the dependencies of pyproject.toml:\n" + "\n".join(undeclared)


def test_extras_are_exact_and_disturb_no_pin(optional: list[Requirement], pins: list[Requirement]) -> None:
    pinned = {canonicalize_name(pin.name): pinned_version(pin) for pin in pins if not pin.marker}
    for extra in optional:
        # Dask is pinned too: the tests start a cluster.
        assert pinned.get(canonicalize_name(extra.name), pinned_version(extra)) == pinned_version(extra)


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
    tfjs = {name: entry["version"] for name, entry in packages.items() if re.search(r"/@tensorflow/[^/]+$", name)}
    assert len(tfjs) == 6
    assert set(tfjs.values()) == {"4.22.0"}


def test_a_lock_names_every_wheel_by_its_hash() -> None:
    row = {"metadata": {"name": "NumPy", "version": "2.4"}, "download_info": {"url": "u", "archive_info": {}}}
    with pytest.raises(SystemExit, match=r"no sha256 of numpy 2\.4: u"):
        lines_of({"install": [row]})
    row["download_info"] = {"archive_info": {"hashes": {"sha256": "ab"}}}
    assert lines_of({"install": [row]}) == ["numpy==2.4 --hash=sha256:ab"]
