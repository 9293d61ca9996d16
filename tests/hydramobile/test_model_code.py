"""Factories of other projects, in packages with common names, beside our packages and beside each other."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hydramobile.errors import StageError, UsageError
from hydramobile.files import sha256_file
from hydramobile.loader import load_modules
from hydramobile.model_code import OURS, check_factory, code_files
from hydramobile.spec import load_spec
from support.fixtures import Command

TOML = """
schema = 1
name = "net"
version = "1"
factory = "{factory}"
weights = {{ path = "weights.safetensors", sha256 = "{sha256}" }}
sizes = [[8, 6]]
[tensors.image]
shape = [1, 3, "H", "W"]
range = [0, 1]
kind = "rgb-photo"
[modules.net]
inputs = ["image"]
outputs = ["map"]
"""
# A net of two files, and one more that its forward imports. `scale` and `offset` identify the project.
NET = """
from torch import nn

from PACKAGE.layers import scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, image):
        from PACKAGE.late import offset

        return scale * self.conv(image) + offset


def build():
    return {"net": Net()}
"""
Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`project(package, value, name)`: write a project called `name` whose factory is in `package`.

    Returns the model's folder: the project's own, or `inside` it. The net returns the mean of the image's channels,
    times `value`, plus `value`.
    """

    def make(package: str, value: float = 1.0, name: str = "project", inside: str = "", init: bool = True) -> Path:
        root = tmp_path / name
        code = root / package
        code.mkdir(parents=True)
        if init:
            (code / "__init__.py").touch()
        (code / "net.py").write_text(NET.replace("PACKAGE", package))
        (code / "layers.py").write_text(f"scale = {value}\n")
        (code / "late.py").write_text(f"offset = {value}\n")
        folder = root / inside
        folder.mkdir(exist_ok=True)
        save_file({"net.conv.weight": torch.full((1, 3, 1, 1), 1 / 3)}, folder / "weights.safetensors")
        digest = sha256_file(folder / "weights.safetensors")
        (folder / "model.toml").write_text(TOML.format(factory=f"{package}.net:build", sha256=digest))
        return folder

    return make


def output(folder: Path) -> float:
    """Return the mean output of the model for an image of ones."""
    return float(load_modules(load_spec(folder))["net"](torch.ones(1, 3, 2, 2)).mean())


@pytest.mark.parametrize("package", ["models", "utils", "core"])
@pytest.mark.parametrize("inside", ["", "portrait"])
@pytest.mark.parametrize("init", [True, False], ids=["package", "folder"])
def test_packages_as_others_call_them(project: Project, package: str, inside: str, init: bool) -> None:
    before = list(sys.path)
    assert output(project(package, 2.0, inside=inside, init=init)) == pytest.approx(4.0)
    assert sys.path == before


def test_a_package_called_like_the_models_folder(project: Project) -> None:
    """Beside model.toml there is the folder's own package: `portrait.net` in the folder `portrait`."""
    folder = project("portrait", 2.0)
    twin = folder.rename(folder.with_name("elsewhere")) / "portrait"
    for name in ("model.toml", "weights.safetensors"):
        (twin.parent / name).rename(twin / name)
    assert output(twin) == pytest.approx(4.0)


def test_two_projects_with_equal_names(project: Project) -> None:
    """Each project sees its own modules, including modules that it imports after the other project was loaded."""
    folders = [project("models", value, f"project{value:.0f}") for value in (2.0, 3.0)]
    first, second = (load_modules(load_spec(folder))["net"] for folder in folders)
    ones = torch.ones(1, 3, 2, 2)
    for net, wanted in ((first, 4.0), (second, 6.0), (copy.deepcopy(first), 4.0), (second, 6.0)):
        assert float(net(ones).mean()) == pytest.approx(wanted)
    # Loaded again, it is the same code. load_modules derives a class per module from the factory's (float32.py).
    again = load_modules(load_spec(folders[0]))["net"]
    assert type(again).__bases__ == type(first).__bases__ != type(second).__bases__


def test_a_module_that_only_the_other_project_has(project: Project) -> None:
    first, second = (project("models", 2.0, name) for name in ("first", "second"))
    (first / "models/more.py").touch()
    for folder in (first, second):
        (folder / "models/layers.py").write_text("from models import more\n\nscale = 2.0\n")
    assert output(first) == pytest.approx(4.0)
    with pytest.raises(StageError, match=r"factory: .*cannot import name 'more' from 'models'"):
        output(second)


def test_folders_that_the_code_adds_to_the_import_path(project: Project) -> None:
    """Projects that carry a copy of another do so. The folders are used at once and later, by that project alone."""
    before, folders = list(sys.path), [project("models", value, f"project{value:.0f}") for value in (2.0, 3.0)]
    for folder, value in zip(folders, (2.0, 3.0), strict=True):
        (folder / "vendored").mkdir()
        (folder / "vendored/number.py").write_text(f"value = {value}\n")
        (folder / "vendored/later.py").write_text(f"value = {value}\n")
        added = f"import sys\n\nsys.path.insert(0, {str(folder / 'vendored')!r})\n"
        (folder / "models/layers.py").write_text(f"{added}from number import value as scale\n")
        (folder / "models/late.py").write_text("from later import value as offset\n")
    nets = [load_modules(load_spec(folder))["net"] for folder in folders]
    assert sys.path == before
    assert [float(net(torch.ones(1, 3, 2, 2)).mean()) for net in nets] == pytest.approx([4.0, 6.0])


def test_beside_a_package_of_tests(project: Project) -> None:
    folder = project("net", 2.0)
    (folder / "tests").mkdir()
    (folder / "tests/__init__.py").write_text("raise RuntimeError('not part of the net')\n")
    assert output(folder) == pytest.approx(4.0)


@pytest.mark.parametrize("name", OURS)
def test_a_factory_in_a_package_with_one_of_our_names(project: Project, name: str) -> None:
    with pytest.raises(StageError) as caught:
        output(project(name))
    assert caught.value.stage == "factory"
    assert f"{name!r} is the name of a package of this repository; rename yours, or put" in caught.value.message
    assert f"{name}, and" in caught.value.message


def test_code_that_imports_one_of_our_names(project: Project) -> None:
    folder = project("models")
    (folder / "models/layers.py").write_text("from export.blocks import scale\n")
    with pytest.raises(StageError, match=r"No module named 'export.blocks' \('export' is a package of this repository"):
        output(folder)


def test_a_factory_that_is_nowhere(project: Project) -> None:
    folder = project("models")
    (folder / "models/net.py").unlink()
    with pytest.raises(StageError, match=rf"No module named 'models.net' \(looked in {folder}, {folder.parent}, and"):
        output(folder)


def test_installed_packages_stay_what_they_are(project: Project) -> None:
    """A folder without __init__.py does not hide an installed package, as in Python itself."""
    folder = project("models", 2.0)
    (folder / "torch").mkdir()
    (folder / "torch/broken.py").touch()
    (folder / "yaml").mkdir()
    (folder / "models/layers.py").write_text("import yaml\n\nscale = 2.0 if hasattr(yaml, 'safe_load') else 0.0\n")
    assert output(folder) == pytest.approx(4.0)


def test_the_files_of_a_factory(project: Project) -> None:
    folder = project("models")
    (folder / "alone.py").touch()
    assert sorted(code_files(load_spec(folder))) == [
        f"models/{name}.py" for name in ("__init__", "late", "layers", "net")
    ]
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace("models.net:build", "alone:build"))
    assert set(code_files(load_spec(folder))) == {"alone.py"}
    toml.write_text(toml.read_text().replace("alone:build", "reference.portrait:build"))
    assert "reference/portrait.py" in code_files(load_spec(folder))


@pytest.mark.parametrize("package", ["models", "utils", "core", "net"])
def test_from_the_command_line(project: Project, package: str, command: Command, tmp_path: Path) -> None:
    """`net` lies beside a package of tests."""
    folder = project(package, 2.0)
    if package == "net":
        (folder / "tests").mkdir()
        (folder / "tests/__init__.py").write_text("raise RuntimeError('not part of the net')\n")
    done = command("export", "onnx", "--model", folder, "--out", tmp_path / "out", "--recipe", "float32")
    assert done.code == 0, done.err
    assert (tmp_path / "out/net/onnx/float32/net.onnx").is_file()


def test_a_name_of_ours_from_the_command_line(project: Project, command: Command, tmp_path: Path) -> None:
    folder = project("export")
    done = command("export", "onnx", "--model", folder, "--out", tmp_path / "out", "--recipe", "float32")
    assert done.code == 3
    assert "'export' is the name of a package of this repository; rename yours" in done.out + done.err


def test_a_mistyped_factory_is_found_without_importing_it(project: Project) -> None:
    folder = project("models")
    (folder / "models/net.py").write_text("raise RuntimeError('imported')\n\ndef build():\n    pass\n")
    spec = load_spec(folder)
    check_factory(spec)
    for factory, message in (
        ("models.net:bulid", r"no function or class in .*net.py: 'bulid'; did you mean 'build'\?"),
        ("models.nett:build", "there is no module models.nett in"),
        ("nowhere.net:build", "there is no module nowhere.net in"),
    ):
        with pytest.raises(UsageError, match=message):
            check_factory(replace(spec, factory=factory))
    check_factory(replace(spec, factory="torch.nn:Linear"))
    (folder / "models/net.py").write_text("from models.other import *\n")
    check_factory(replace(spec, factory="models.net:anything"))
    (folder / "models/net.py").write_text("x = 1\ndef build(:\n")
    with pytest.raises(UsageError, match=r"net.py, line 2: invalid syntax"):
        check_factory(spec)
