"""`init` writes a model folder from an archive, a factory or a class: tensors, checkpoints, errors in words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from export.init.request import AskedInput, InitRequest, read_channels, read_input
from export.init.run import Written, run_init
from export.program import capture, run_modules
from hydramobile.errors import StageError, UsageError
from hydramobile.loader import load_modules
from hydramobile.samples import load_samples, sample_inputs
from hydramobile.spec import load_spec
from support.fixtures import Command

PHOTO = AskedInput("image", (1, 3, 32, 32), "rgb-photo")
NET = """
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 1, 1)
        self.mask = nn.Conv2d(8, 2, 1)

    def forward(self, image):
        features = torch.relu(self.norm(self.body(image)))
        return {"depth": self.depth(features), "mask": self.mask(features)}


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image):
        return {"features": torch.relu(self.conv(image))}


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 1, 1)

    def forward(self, features):
        return self.conv(features)


def build():
    return Two()


def hydra():
    return {"body": Body(), "depth": Head(), "mask": Head()}


def wrong():
    return 3
"""


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.places = nn.Embedding(20, 8)

    def forward(self, ids: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        embedded = self.words(ids.reshape(1, -1)) + self.places(places)
        result: Tensor = (embedded * mask.unsqueeze(-1)).mean(1)
        return result


def quiet(text: str) -> None:
    pass


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose package is called `models`; it is the current folder."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/__init__.py").touch()
    (tmp_path / "models/net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def init(*origins: str, **options: Any) -> Written:
    return run_init(InitRequest(Path("out/mine"), origins, **options), quiet)


def archive(net: nn.Module, inputs: tuple[Any, ...], path: Path) -> str:
    torch.export.save(torch.export.export(net.eval(), inputs, strict=False), path)
    return str(path)


def test_a_factory_of_a_package_called_models(project: Path) -> None:
    written = init("models.net:build", inputs=(PHOTO,))
    assert [seen.name for seen in written.outputs] == ["depth", "mask"]
    spec = load_spec(Path("out/mine"))
    assert (spec.factory, spec.code, spec.size) == ("models.net:build", "../..", (32, 32))
    assert spec.tensors["image"].kind == "rgb-photo" and spec.tensors["image"].range == (0.0, 1.0)
    assert spec.tensors["mask"].shape == (1, 2, 16, 16)
    assert capture(spec).tensors["depth"].shape == (1, 1, 16, 16)


def test_a_class_and_a_dict_of_modules(project: Path) -> None:
    assert load_spec(init("models.net:Two", inputs=(PHOTO,)).folder).factory == "models.net:Two"
    written = init("models.net:hydra", inputs=(PHOTO,), overwrite=True)
    spec = load_spec(written.folder)
    assert spec.modules["depth"].inputs == spec.modules["mask"].inputs == ("features",)
    assert spec.modules["mask"].outputs == ("mask",)
    assert spec.entries["whole"].outputs == ("depth", "mask")


def test_the_archive_is_the_model_and_no_code_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ids = (torch.zeros(16, dtype=torch.int64), torch.zeros(1, 16, dtype=torch.int64), torch.rand(1, 16))
    torch.manual_seed(0)
    net = Tokens()
    written = init(archive(net, ids, tmp_path / "net.pt2"))
    spec = load_spec(written.folder)
    assert spec.factory == "" and spec.modules["net"].program == "net.pt2"
    assert [spec.tensors[name].range for name in ("ids", "places")] == [(0.0, 49.0), (0.0, 19.0)]
    assert "ids has the range [0, 49] of the table that it indexes" in written.notes
    inputs = sample_inputs(spec, load_samples(spec, "judge")[0], spec.size)
    result = run_modules(spec, load_modules(spec), inputs)["output"]
    assert torch.equal(result, net(*(torch.from_numpy(inputs[name]) for name in ("ids", "places", "mask"))))
    (written.folder / "net.pt2").write_bytes(b"another")
    with pytest.raises(StageError, match="its sha256 is another"):
        load_modules(spec)


def test_several_archives_are_joined_by_tensor_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Encoder(nn.Module):
        def forward(self, image: Tensor) -> dict[str, Tensor]:
            return {"features": image.mean(1, keepdim=True)}

    class Head(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features * 2

    first = archive(Encoder(), (torch.rand(1, 3, 8, 8),), tmp_path / "encoder.pt2")
    second = archive(Head(), (torch.rand(1, 1, 8, 8),), tmp_path / "depth.pt2")
    spec = load_spec(init(first, second).folder)
    assert (spec.modules["depth"].inputs, spec.modules["depth"].outputs) == (("features",), ("depth",))


def test_mean_and_std_are_inside_the_net(project: Path) -> None:
    mean, std = read_channels("mean", "imagenet"), read_channels("std", "imagenet")
    spec = load_spec(init("models.net:build", inputs=(PHOTO,), mean=mean, std=std).folder)
    assert spec.tensors["image"].mean == mean
    modules = load_modules(spec)
    image = torch.rand(1, 3, 32, 32)
    raw = load_modules(load_spec(init("models.net:build", inputs=(PHOTO,), overwrite=True).folder))["net"]
    shape = (1, 3, 1, 1)
    wanted = raw((image - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape))["depth"]
    torch.testing.assert_close(modules["net"](image)["depth"], wanted)


@pytest.mark.parametrize("limits", [(0.0, 255.0), (-1.0, 1.0)])
def test_a_photo_is_scaled_to_its_range(project: Path, limits: tuple[float, float]) -> None:
    spec = load_spec(
        init("models.net:build", inputs=(AskedInput("image", (1, 3, 32, 32), "rgb-photo", "", limits),)).folder
    )
    image = sample_inputs(spec, load_samples(spec, "judge")[0], spec.size)["image"].astype(np.float64)
    steps = (image - limits[0]) / (limits[1] - limits[0]) * 255
    assert np.abs(steps - np.round(steps)).max() < 1e-3 and image.max() > limits[0] + 0.8 * (limits[1] - limits[0])


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "lightning", "parallel", "safetensors"])
def test_checkpoints_as_people_have_them(project: Path, wrap: str) -> None:
    torch.manual_seed(5)
    namespace: dict[str, Any] = {}
    exec(NET, namespace)
    state = namespace["build"]().state_dict()
    path = project / ("w.safetensors" if wrap == "safetensors" else "w.ckpt")
    if wrap == "safetensors":
        save_file(state, path)
    else:
        prefix = {"lightning": "model.", "parallel": "module."}.get(wrap, "")
        values = {prefix + name: value for name, value in state.items()}
        more = {"loss.weight": torch.ones(1)} if wrap == "lightning" else {}
        content = {"epoch": 3, "state_dict": {**values, **more}} if wrap in ("state_dict", "lightning") else values
        torch.save(content, path)
    written = init("models.net:build", inputs=(PHOTO,), weights=path)
    net = load_modules(load_spec(written.folder))["net"]
    assert torch.equal(net.get_parameter("body.weight"), state["body.weight"])
    note = written.notes[0]
    assert note.startswith("weights: 11 tensors of")
    assert ("prefix 'model.'" in note) == (wrap == "lightning") and ("prefix 'module.'" in note) == (wrap == "parallel")


def test_a_checkpoint_that_does_not_fit_lists_the_nearest_names(project: Path) -> None:
    torch.save({"body.weights": torch.ones(8, 3, 3, 3), "depth.bias": torch.ones(2)}, project / "w.pth")
    with pytest.raises(UsageError) as error:
        init("models.net:build", inputs=(PHOTO,), weights=project / "w.pth")
    text = str(error.value)
    assert "body.weight is missing (nearest: body.weights)" in text
    assert "depth.bias is [2] in the file and [1] in the net" in text
    assert not Path("out/mine").exists()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_a_checkpoint_of_objects_is_not_run(project: Path) -> None:
    torch.save({"state_dict": {}, "config": Bomb()}, project / "w.ckpt")
    with pytest.raises(UsageError, match="holds Python objects beside its tensors"):
        init("models.net:build", inputs=(PHOTO,), weights=project / "w.ckpt")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.pth"], "net.pth holds weights, not a net"),
        (["nothing"], "is none of: FILE.pt2"),
        (["none.pt2"], "there is no file none.pt2"),
        (["models.net:build", "--input", "image=1x3xAx2"], "is no shape such as"),
        (["models.net:build", "--input", "image=1x3x8x8:rgb-foto"], "did you mean 'rgb-photo'?"),
        (["models.net:build", "--mean", "imagnet"], "neither 'imagenet' nor numbers"),
        (["models.net:build", "--weights", "none.pth"], "there is no file none.pth"),
    ],
)
def test_a_wrong_word_is_bad_usage_before_torch_is_imported(
    command: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    done = command("export", "init", tmp_path / "new", *words)
    assert done.code == 2 and message in done.verdict
    assert not (tmp_path / "new").exists()


def test_a_missing_input_and_a_wrong_factory(project: Path) -> None:
    with pytest.raises(UsageError, match="the shape of the input 'image' is not known: say --input image="):
        init("models.net:build")
    with pytest.raises(UsageError, match=r"must return a torch\.nn\.Module or a dict of them"):
        init("models.net:wrong", inputs=(PHOTO,))
    with pytest.raises(StageError, match="the net failed on inputs of"):
        init("models.net:build", inputs=(AskedInput("image", (1, 4, 32, 32)),))


def test_inputs_as_typed() -> None:
    assert read_input("ids=1x64:int64:0..999") == AskedInput("ids", (1, 64), "", "int64", (0.0, 999.0))
    assert read_input("wave=1x1x1600:-1..1") == AskedInput("wave", (1, 1, 1600), "", "", (-1.0, 1.0))
    with pytest.raises(UsageError, match="is empty"):
        read_input("a=1:2..1")


def test_the_json_names_the_next_command(command: Command, tmp_path: Path) -> None:
    archive(nn.Linear(4, 2), (torch.rand(1, 4),), tmp_path / "net.pt2")
    started = time.monotonic()
    done = command("export", "init", tmp_path / "new", tmp_path / "net.pt2", "--json")
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert content["next"] == f"hydra-mobile ship ios android web --model {tmp_path / 'new'}"
    assert content["inputs"] == [
        {"name": "input", "shape": [1, 4], "dtype": "float32", "kind": "tensor", "range": None}
    ]
    print(f"init of a linear layer: {time.monotonic() - started:.1f} s")


TIMM = """
from torch import nn


def create_model(name, pretrained):
    assert (name, pretrained) == ("small_net", False)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 5))
    net.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}
    return net
"""


def test_a_net_of_a_library(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for timm: its name, its input size and its normalization end in the model folder."""
    installed = tmp_path / "installed"
    (installed / "timm-1.0.dist-info").mkdir(parents=True)
    (installed / "timm-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 1.0\n")
    (installed / "timm.py").write_text(TIMM, encoding="utf-8")
    monkeypatch.syspath_prepend(str(installed))
    written = init("timm:small_net")
    spec = load_spec(written.folder)
    assert (spec.factory, spec.size, spec.tensors["image"].mean) == ("net:build", (32, 32), (0.5, 0.4, 0.3))
    assert "weights: seeded (torch.manual_seed(0)), not trained; --weights FILE gives trained ones" in written.notes
    assert load_modules(spec)["net"](torch.rand(1, 3, 32, 32)).shape == (1, 5)


def test_a_library_that_is_not_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("export.init.factories.metadata.version", missing)
    with pytest.raises(UsageError, match="torchvision is not installed here: pip install torchvision"):
        init("torchvision:resnet18")
