"""Test the Core AI target and runtime where the extra is installed, and the advice where it is not."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.evidence.envelope import read
from benchmarks.evidence.parity import ParityEvidence
from benchmarks.parity.run import run_parity
from benchmarks.request import Request
from benchmarks.runtime import Runtime, load_runtime
from export.inspect import inspect_path
from export.target import Target, load_target
from hydramobile.artifact import Artifact, Entry, read_artifact, verify
from hydramobile.budget import load_budget
from hydramobile.errors import StageError
from hydramobile.recipes import recipe
from hydramobile.spec import load_spec
from hydramobile.targets import PLATFORMS, TARGETS, resolve
from support.emit import run_sealed

Artifacts = Callable[[str, str, str], Path]
HAS_COREAI = importlib.util.find_spec("coreai") is not None and importlib.util.find_spec("coreai_torch") is not None
INSTALLED = pytest.mark.skipif(not HAS_COREAI, reason="Core AI is an optional extra; run: scripts/setup.sh coreai")


def test_is_exported_only_by_name(model_dir: Callable[[str], Path]) -> None:
    assert "coreai" not in resolve(["all", "ios", "android", "web"])
    assert resolve(["coreai"]) == resolve(["extras"]) == ("coreai",)
    assert PLATFORMS["all"] == TARGETS
    budget = load_budget(load_spec(model_dir("classifier")))
    assert "coreai" not in budget.ship and budget.recipes("coreai") == ("float32",)
    assert "coreai has float32, float16" in str(load_target("coreai").refuses(recipe("w8")))


@pytest.mark.parametrize("make", [lambda: load_target("coreai"), lambda: load_runtime("coreai")])
def test_missing_packages_name_the_set_up_command(
    make: Callable[[], Target | Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "not installed; run: scripts/setup.sh coreai" in str(make().unavailable())


@INSTALLED
@pytest.mark.parametrize("name", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_parity_in_the_interpreter(
    artifact: Artifacts, out_with: Callable[..., Path], model_dir: Callable[[str], Path], name: str
) -> None:
    """Every entry passes in every mode, with weights of the recipe's dtype and facts read from the file."""
    folder = artifact("mixed", "coreai", name)
    sealed = read_artifact(folder)
    verify(folder, sealed)
    assert {entry.file for entry in sealed.entries} == {"mixed.aimodel"}
    assert "creationDate" not in (folder / "mixed.aimodel/metadata.json").read_text()
    facts = inspect_path(folder / "mixed.aimodel")
    assert [entry["name"] for entry in facts["entries"]] == [entry.function for entry in sealed.entries]
    out = out_with("mixed", folder)
    evidence = run_parity(Request(load_spec(model_dir("mixed")), out, only=(("coreai", name),), runtimes=("coreai",)))
    rows = evidence.results
    assert {row.verdict for row in rows} == {"pass"}, [(row.entry, row.mode, row.reason) for row in rows]
    assert {row.evidence for row in rows} == {"interpreted"}
    assert {"direct", "boundary", "chain", "dtypes"} == {row.mode for row in rows}
    (types,) = [row.facts.weight_bytes for row in rows if row.mode == "dtypes"]
    assert max(types, key=lambda key: types[key]) == name
    assert read(ParityEvidence, out / "mixed/parity.json") == evidence


@INSTALLED
def test_runs_inside_another_event_loop(
    artifact: Artifacts, golden: Callable[[str], dict[str, NDArray[np.float32]]]
) -> None:
    """The thread has a running event loop, as playwright leaves one behind."""
    folder = artifact("mixed", "coreai", "float32")
    entry = read_artifact(folder).entries[0]
    values = golden("mixed")

    async def inside() -> dict[str, NDArray[np.float32]]:
        return run_sealed(folder, entry.id, {port.name: values[port.name] for port in entry.inputs})

    # In a new thread: this one may have a loop that another test's browser left behind.
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(lambda: asyncio.run(inside())).result()
    for name, value in made.items():
        assert np.abs(value - values[name]).max() <= 1e-4 * max(1.0, float(np.abs(values[name]).max())), name


@INSTALLED
def test_broken_asset_and_unknown_function_raise(artifact: Artifacts, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifact("mixed", "coreai", "float32"), tmp_path / "float32"))
    sealed: Artifact = read_artifact(folder)
    entry: Entry = sealed.entries[0]
    runtime = load_runtime("coreai")
    with pytest.raises(StageError, match="open: Core AI cannot load"):
        runtime.open(folder, replace(entry, function="no such function"))
    with pytest.raises(StageError, match="has no function 'nope'"):
        runtime.read_dtypes(folder, replace(entry, function="nope"))
    (folder / "mixed.aimodel/main.mlirb").write_bytes(b"no program")
    for act in (runtime.open, runtime.read_dtypes):
        with pytest.raises(StageError, match="open: "):
            act(folder, entry)
