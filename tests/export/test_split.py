"""`init --split`: an encoder and its heads out of one net, equal to the net by numbers, or refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from export.init.request import AskedInput, InitRequest, Part, read_split
from export.init.run import Written, run_init
from hydramobile.errors import StageError, UsageError
from hydramobile.loader import load_modules
from hydramobile.reference_run import run_modules
from hydramobile.spec import load_spec
from support.fixtures import Command

NET = """
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.second = nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x):
        fine = torch.relu(self.first(x))
        coarse = torch.relu(self.second(fine))
        if self.form == "tensor":
            return fine
        if self.form == "dict":
            return {"p2": fine, "p3": coarse}
        return (fine, coarse) if self.form == "tuple" else [fine, coarse]


class Head(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.out = nn.Conv2d(8, outputs, 1)

    def forward(self, features, scale=None):
        if isinstance(features, dict):
            features = list(features.values())
        if isinstance(features, (list, tuple)):
            fine, coarse = features
            features = fine + nn.functional.interpolate(coarse, scale_factor=2)
        return self.out(features) * (scale or 1)


class Net(nn.Module):
    def __init__(self, form="tensor", how=""):
        super().__init__()
        self.how = how
        self.backbone = Encoder(form)
        self.heads = nn.ModuleDict({"one": Head(1), "two": Head(2)})
        self.neck = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        features = self.backbone(x - 0.5 if self.how == "before" else x)
        if self.how == "between":
            features = features * 1.25
        if self.how == "neck":
            features = self.neck(features)
        if self.how == "in place":
            features.mul_(1.25)
        if self.how == "reads x":
            return {"depth": self.heads["one"](x.repeat(1, 3, 1, 1)[:, :8])}
        if self.how == "method":
            return {"depth": self.heads["one"].forward(features)}
        if self.how == "twice":
            return {"depth": self.heads["one"](features) + self.heads["one"](features)}
        depth = self.heads["one"](features, scale=2)
        if self.how == "after":
            depth = depth + 0.25
        return {"depth": depth, "mask": self.heads["two"](features)}


def of_FORM():
    torch.manual_seed(4)
    return Net("FORM")
"""
FORMS = ("tensor", "tuple", "list", "dict")
FAULTS = ("before", "between", "neck", "in place", "reads x", "method", "twice", "after")
BODY, _, TAIL = NET.partition("def of_FORM():")
CODE = BODY + "\n\n".join("def of_FORM():".replace("FORM", form) + TAIL.replace("FORM", form) for form in FORMS)
CODE += "".join(
    f'\n\ndef {name.replace(" ", "_")}():\n    torch.manual_seed(4)\n    return Net("tensor", "{name}")\n'
    for name in FAULTS
)
PHOTO = AskedInput("image", (1, 3, 32, 32), "rgb-photo")
SPLIT = (Part("encoder", "backbone"), Part("depth", "heads.one"), Part("mask", "heads.two"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "parent.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def init(factory: str, split: tuple[Part, ...] = SPLIT, **options: Any) -> Written:
    return run_init(InitRequest(Path("mine"), (factory,), (PHOTO,), split=split, **options), lambda text: None)


@pytest.mark.parametrize("form", FORMS)
def test_the_parts_compute_what_the_net_computes(project: Path, form: str) -> None:
    written = init(f"parent:of_{form}")
    spec = load_spec(written.folder)
    assert list(spec.modules) == ["encoder", "depth", "mask"]
    features = {"tensor": ("features",), "dict": ("p2", "p3")}.get(form, ("features_0", "features_1"))
    assert spec.modules["encoder"].outputs == spec.modules["depth"].inputs == features
    assert spec.entries["whole"].outputs == ("depth", "mask")
    namespace: dict[str, Any] = {}
    exec(CODE, namespace)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    wanted = namespace[f"of_{form}"]().eval()(image)
    found = run_modules(spec, load_modules(spec), {"image": image.numpy()})
    for name in ("depth", "mask"):
        assert torch.equal(found[name], wanted[name])
    assert "on 3 drawn inputs they compute the outputs of the net" in " ".join(written.notes)


def test_trained_weights_are_the_parents(project: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(CODE, namespace)
    torch.manual_seed(11)
    net = namespace["Net"]("list")
    torch.save(net.state_dict(), "trained.pth")
    spec = load_spec(init("parent:of_list", weights=Path("trained.pth")).folder)
    image = torch.rand(1, 3, 32, 32)
    found = run_modules(spec, load_modules(spec), {"image": image.numpy()})
    assert torch.equal(found["mask"], net.eval()(image)["mask"])


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("before", r"encoder: backbone reads a tensor \[1, 3, 32, 32\] that is no input of the net.*'image': 0.5\)"),
        ("between", r"depth: heads.one reads a tensor .* that is no output of backbone.*largest difference from"),
        ("neck", "something between backbone and heads.one"),
        ("in_place", "backbone alone does not|heads.one alone does not compute the net's output 'depth': largest"),
        ("reads_x", r"heads.one reads a tensor \[1, 8, 32, 32\] that is no output of backbone"),
        ("method", "the net calls the module heads.one 0 times.*methods other than forward do not count"),
        ("twice", "the net calls the module heads.one 2 times"),
        (
            "after",
            r"the net's output 'depth' is computed after its parts \(largest difference from 'heads.depth': 0.25",
        ),
    ],
)
def test_a_net_that_is_more_than_its_parts_is_refused(project: Path, factory: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        init(f"parent:{factory}")
    assert not Path("mine").exists()


def test_names_that_do_not_fit(project: Path) -> None:
    with pytest.raises(
        UsageError, match=r"gives a net without a submodule 'backbon' \(did you mean 'backbone'\? it has backbone, "
    ):
        init("parent:of_tensor", (Part("encoder", "backbon"), *SPLIT[1:]))
    with pytest.raises(UsageError, match=r"'mask' is what heads.two returns, .* add heads.heads_two=heads.two"):
        init("parent:of_tensor", SPLIT[:2])
    spec = load_spec(init("parent:of_tensor").folder)
    text = (spec.folder / "model.toml").read_text(encoding="utf-8")
    (spec.folder / "model.toml").write_text(text.replace('"heads.two"', '"heads.too"'), encoding="utf-8")
    with pytest.raises(StageError, match=r"without a submodule 'heads\.too' .*did you mean 'heads\.two'"):
        load_modules(load_spec(spec.folder))
    (spec.folder / "model.toml").write_text(text.replace('arguments = ["features", 2]', "arguments = [2]"), "utf-8")
    with pytest.raises(StageError, match=r"'arguments' names \[\], and 'inputs' \['features'\]"):
        load_spec(spec.folder)


@pytest.mark.parametrize(
    "words", [["encoder=backbone"], ["heads.a=b"], ["encoder=a", "depth=b"], ["encoder=a", "heads.x=b", "heads.x=c"]]
)
def test_malformed_words_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"heads\.NAME=PATH"):
        read_split(words)


def test_an_archive_has_no_parts(command: Command, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").touch()
    done = command("export", "init", tmp_path / "new", tmp_path / "net.pt2", "--split", "encoder=a", "heads.b=c")
    assert done.code == 2 and "--split needs the net's code" in done.verdict


def test_a_split_net_ships(command: Command, project: Path, root: Path) -> None:
    here = {"PYTHONPATH": str(root)}
    words = ("--split", "encoder=backbone", "heads.depth=heads.one", "heads.mask=heads.two")
    asked = ("--input", "image=1x3x32x32:rgb-photo")
    made = command("export", "init", "mine", "parent:of_dict", *words, *asked, cwd=project, env=here)
    assert made.code == 0, made.out + made.err
    done = command(
        *("ship", "onnx", "--model", "mine", "--recipe", "float32", "--quick", "--json"), cwd=project, env=here
    )
    assert (done.code, done.verdict) == (0, "1 files may ship"), done.out + done.err
    (row,) = json.loads(done.out)["rows"]
    assert row["verdict"] == "pass"
    folder = (project / row["file"]).parent
    assert {path.stem for path in folder.glob("*.onnx")} >= {"encoder", "depth", "mask"}
