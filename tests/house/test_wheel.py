"""The wheel holds the packages and the portrait's data, and its console script ships a net from another folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

PACKAGES = {"benchmarks", "demo", "export", "hydramobile", "reference", "ship"}


def run(words: list[object], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False, timeout=500)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tracked and new files."""
    home = tmp_path_factory.mktemp("wheel")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():
            (home / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, home / "source" / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "-w",
        home,
        ".",
    ]
    done = run(pip, home / "source")
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = home.glob("*.whl")
    return built


@pytest.mark.slow
def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {*PACKAGES, *(top for top in tops if top.startswith("hydra_mobile-"))}
    for needed in (
        "share/hydra-mobile/portrait/model.toml",
        "share/hydra-mobile/portrait/weights.safetensors",
        "share/hydra-mobile/portrait/samples/samples.toml",
        "benchmarks/report/templates/report.html.j2",
        "benchmarks/report/templates/report.js",
        "benchmarks/runtimes/tfjs_node.mjs",
        "export/targets/onnx/usage.md.j2",
        "export/bundle/android/sources/main/Engine.kt",
        "export/bundle/android/templates/net.kt.j2",
        "export/bundle/ios/sources/Net/Engine.swift",
        "export/bundle/ios/templates/sample/SampleApp.swift.j2",
        "demo/index.html",
        "demo/app/worker.js",
        "export/bundle/web/sources/engines/ort.js",
        "export/bundle/web/templates/net.js.j2",
    ):
        assert any(name.endswith(needed) for name in names), needed


@pytest.mark.slow
def test_the_installed_script_ships_a_net_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """The new environment sees the packages of this one, so that only the wheel itself is installed."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    libraries = next(home.glob("lib/python*/site-packages"))
    (libraries / "these.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    done = run(
        [sys.executable, "-m", "pip", "--python", home, "install", "--no-deps", "--no-index", "-q", wheel], tmp_path
    )
    assert done.returncode == 0, done.stderr
    script = home / "bin/hydra-mobile"
    project = tmp_path / "project"
    # A user's own folders of these names must not be taken for ours.
    for name in ("export", "models"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("raise RuntimeError('not ours')\n", encoding="utf-8")
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 4)).eval()
    torch.manual_seed(0)
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 32, 32),)), project / "net.pt2")

    assert "hydra-mobile 0." in run([script, "--version"], project).stdout
    shipped = run([script, "ship", "onnx", "--model", "net.pt2", "--recipe", "float32", "--quick", "--json"], project)
    assert shipped.returncode == 0, shipped.stdout + shipped.stderr
    (row,) = json.loads(shipped.stdout)["rows"]
    assert row["verdict"] == "pass" and (project / row["file"]).is_file()
    unknown = run([script, "shpi"], project)
    assert unknown.returncode == 2 and "did you mean 'ship'?" in unknown.stdout
