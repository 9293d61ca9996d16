"""A new target costs one folder and one row: proved with a toy target, dropped into a copy of this project.

The toy's folder holds its exporter and its runtime (tests/support/toy_target). Nothing else is added and only the
registry is edited; export, parity, size, cost and report then run from the command line of the copy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hydramobile.artifact import Artifact, artifact_folder

PACKAGES = ("hydramobile", "export", "benchmarks")
COLOUR = "#0072b2"
ROW = f"""
    TargetInfo(
        name="toy",
        implementation="toy_target.target:ToyTarget",
        platform="toys",
        grid_runtime="toy",
        test_runtime="toy",
        suffixes=(".toy",),
        colour="{COLOUR}",
        marker="P",
        runtimes=(RuntimeInfo("toy", "toy_target.runtime:ToyRuntime"),),
    ),
"""
END_OF_ROWS = "\n)\n\nREGISTRY ="


@dataclass(frozen=True, slots=True)
class Copy:
    """The copied project in `home`, and an OUT folder with the goldens of the classifier and its toy artifact."""

    home: Path
    model: Path
    out: Path

    @property
    def artifact(self) -> Path:
        return artifact_folder(self.out, "classifier", "toy", "float32")

    def evidence(self, name: str) -> Any:
        return json.loads((self.out / "classifier" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages without their weights and samples, one folder more, and one row more."""
    home = tmp_path_factory.mktemp("project")
    for package in PACKAGES:
        shutil.copytree(root / package, home / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "tests/support/toy_target", home / "toy_target")
    registry = home / "hydramobile/targets.py"
    text = registry.read_text(encoding="utf-8")
    assert text.count(END_OF_ROWS) == 1
    registry.write_text(text.replace(END_OF_ROWS, ROW.rstrip() + END_OF_ROWS), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def exported(
    project: Path, model_dir: Callable[[str], Path], build: Callable[[str], Path], command: Callable[..., Any]
) -> Copy:
    model, out = model_dir("classifier"), project / "out"
    shutil.copytree(build("classifier"), out)
    words = ("toy", "--model", model, "--out", out, "--recipe", "float32", "--recipe", "float16")
    done = command("export", *words, cwd=project)
    assert (done.code, done.verdict.partition(" in ")[0]) == (0, "2 exported"), done.out + done.err
    return Copy(project, model, out)


@pytest.fixture
def copy(exported: Copy, tmp_path: Path) -> Copy:
    """The same with an OUT folder of this test's own."""
    return Copy(exported.home, exported.model, Path(shutil.copytree(exported.out, tmp_path / "out")))


def run(command: Callable[..., Any], copy: Copy, *words: object) -> Any:
    return command("benchmarks", *words, "--model", copy.model, "--out", copy.out, cwd=copy.home)


def test_the_artifact_computes_what_pytorch_computes(copy: Copy, command: Callable[..., Any]) -> None:
    done = run(command, copy, "parity")
    assert (done.code, done.verdict) == (0, "2 artifacts agree with the reference"), done.out + done.err
    rows = {(row["recipe"], row["mode"]): row for row in copy.evidence("parity")["results"]}
    measures = {measure["metric"]: measure for measure in rows["float32", "direct"]["measures"]}
    assert 0 < measures["max_abs"]["value"] < 1e-4, "an interpreter in numpy sums in another order"
    assert [name for name, measure in measures.items() if measure["limit"] is not None], "nothing was limited"
    assert rows["float16", "direct"]["verdict"] == rows["float16", "dtypes"]["verdict"] == "pass"


def test_a_flipped_weight_fails(copy: Copy, command: Callable[..., Any], reseal: Callable[..., Artifact]) -> None:
    path = copy.artifact / "classifier.toy/weights.safetensors"
    weights = load_file(path)
    name = next(name for name, value in weights.items() if value.ndim == 2)
    weights[name].flat[np.abs(weights[name]).argmax()] *= -1
    save_file(weights, path)
    broken = run(command, copy, "parity", "--only", "toy/float32")
    assert broken.code == 3 and "does not match its seal" in broken.verdict

    reseal(copy.artifact)
    done = run(command, copy, "parity", "--only", "toy/float32")
    assert done.code == 1
    assert done.verdict.startswith("toy float32: toy classifier direct: scores ")
    assert "(1 of 1 artifacts broken)" in done.verdict


def test_it_is_weighed(copy: Copy, command: Callable[..., Any]) -> None:
    assert run(command, copy, "size").verdict == "2 artifacts measured"
    rows = {row["recipe"]: row for row in copy.evidence("size")["results"]}
    files = list((copy.artifact / "classifier.toy").iterdir())
    assert rows["float32"]["ships"]["bytes"] == sum(path.stat().st_size for path in files)
    assert rows["float32"]["ships"]["gzip"] is None, "no browser runs it"
    (entry,), (half,) = (rows[recipe]["entries"] for recipe in ("float32", "float16"))
    large = [
        value for value in load_file(copy.artifact / "classifier.toy/weights.safetensors").values() if value.size > 16
    ]
    assert entry["weights"] == {"float32": sum(value.nbytes for value in large)}
    assert half["weights"]["float16"] == sum(value.nbytes // 2 for value in large if value.ndim > 1)


def test_what_its_runtime_lacks_is_said(copy: Copy, command: Callable[..., Any]) -> None:
    done = run(command, copy, "cost")
    assert (done.code, done.verdict) == (4, "no runtime reads the graph of toy files")
    done = run(command, copy, "profile")
    assert (done.code, done.verdict) == (4, "nothing was profiled: toy offers no profile by operator")


def test_the_report_shows_it_in_its_colour(copy: Copy, command: Callable[..., Any]) -> None:
    for what in ("parity", "size"):
        assert run(command, copy, what).code == 0
    done = run(command, copy, "report")
    assert done.code == 0, done.out + done.err
    page = (copy.out / "classifier/report.html").read_text(encoding="utf-8")
    text = (copy.out / "classifier/report.md").read_text(encoding="utf-8")
    assert COLOUR in page and "toy float32" in page
    assert "| toy float32 | ✓ ships |" in text


def test_the_commands_list_it_and_read_its_files(copy: Copy, command: Callable[..., Any]) -> None:
    facts = json.loads(
        command("export", "inspect", copy.artifact, "--json", cwd=copy.home).out.partition("verdict:")[0]
    )
    assert facts["files"]["classifier.toy"]["target"] == "toy"
    listed = command("export", "doctor", "--json", cwd=copy.home)
    assert "toy" in {row["target"] for row in json.loads(listed.out.partition("verdict:")[0])}
    known = command("benchmarks", "doctor", "--json", cwd=copy.home)
    (row,) = (r for r in json.loads(known.out.partition("verdict:")[0]) if r["runtime"] == "toy")
    assert (row["runs"], row["unavailable"]) == ("toy", "")


def test_its_code_decides_whether_an_export_is_current(copy: Copy, command: Callable[..., Any], tmp_path: Path) -> None:
    """The hash of the sources covers a target that lies outside of export/."""
    words = ("toy", "--model", copy.model, "--out", copy.out, "--recipe", "float32")
    assert command("export", *words, cwd=copy.home).verdict.startswith("1 up to date")
    home = Path(shutil.copytree(copy.home, tmp_path / "changed", ignore=shutil.ignore_patterns("out")))
    with (home / "toy_target/target.py").open("a", encoding="utf-8") as stream:
        stream.write("\n# changed\n")
    done = command("export", *words, cwd=home)
    assert done.code == 2 and "holds another artifact" in done.verdict
