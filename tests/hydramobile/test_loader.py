"""Load a model folder: errors of the factory, the weights and the modules. Import paths are in test_model_code.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from export.program import capture
from hydramobile.errors import StageError
from hydramobile.loader import load_modules
from hydramobile.spec import load_spec

NET = """
import torch
from torch import nn


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        return {forward}


def build():
    {first}
    return {made}
"""
MADE = '{"body": nn.Conv2d(3, 4, 3, padding=1), "head": Head()}'
FORWARD = "torch.sigmoid(self.conv(x))"
MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path, request: pytest.FixtureRequest) -> MakeModel:
    """Write a model of two modules outside the repository, with seeded weights, in a package of its own per test."""
    package = f"net_{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"

    def make(forward: str = FORWARD, first: str = "pass", made: str = MADE, edits: Mapping[str, str] = {}) -> Path:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "net.py").write_text(NET.format(forward=forward, first=first, made=made))
        torch.manual_seed(1)
        tensors = {
            "body.weight": torch.randn(4, 3, 3, 3),
            "body.bias": torch.randn(4),
            "head.conv.weight": torch.randn(1, 4, 1, 1),
            "head.conv.bias": torch.randn(1),
        }
        save_file(tensors, folder / "weights.safetensors")
        digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        text = (Path(__file__).parent / "small.toml").read_text()
        for old, new in {"PACKAGE": package, "SHA256": digest, **edits}.items():
            assert old in text
            text = text.replace(old, new)
        (folder / "model.toml").write_text(text)
        return folder

    return make


def rewrite(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Save other weights and write their hash into model.toml."""
    path = folder / "weights.safetensors"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    save_file(dict(tensors), path)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace(old, new))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "weights.safetensors")


def test_loads_a_model_outside_the_repository(make_model: MakeModel) -> None:
    folder = make_model()
    modules = load_modules(load_spec(folder))
    assert list(modules) == ["body", "head"]
    assert torch.equal(modules["body"].get_parameter("weight"), weights(folder)["body.weight"])
    assert not any(module.training for top in modules.values() for module in top.modules())


def test_captures_real_values(make_model: MakeModel) -> None:
    program = capture(load_spec(make_model()))
    assert tuple(program.tensors["feature"].shape) == (1, 4, 8, 6)
    (whole,) = program.callable(program.spec.entries["whole"])(program.tensors["image"])
    assert torch.equal(whole, program.tensors["alpha"])


# As Hugging Face's ModelOutput is: an ordered dict of a type of its own.
NAMED = """
from collections import OrderedDict


class ModelOutput(OrderedDict):
    pass
"""


def test_a_module_may_return_named_tensors(make_model: MakeModel) -> None:
    """Its outputs are taken in their order. An entry returns plain tensors, which torch.jit.trace accepts."""
    folder = make_model(forward="ModelOutput(alpha=torch.sigmoid(self.conv(x)))")
    (folder / "net.py").write_text(NAMED + (folder / "net.py").read_text())
    program = capture(load_spec(folder))
    entry = program.spec.entries["head"]
    example = program.example(entry)
    with torch.no_grad():
        wanted = torch.sigmoid(program.modules["head"].get_submodule("conv")(*example))
    assert torch.equal(program.tensors["alpha"], wanted)
    with pytest.raises(RuntimeError, match="dictionary"):
        torch.jit.trace(program.modules["head"], example)
    for made in (torch.jit.trace(program.callable(entry), example), program.exported(entry).program.module()):
        assert torch.equal(made(*example)[0], wanted)


def test_no_weights(make_model: MakeModel) -> None:
    folder = make_model()
    (folder / "weights.safetensors").unlink()
    with pytest.raises(StageError, match=r"weights\.safetensors does not exist"):
        load_modules(load_spec(folder))


def test_wrong_sha256(make_model: MakeModel) -> None:
    folder = make_model(edits={"SHA256": "1" * 64})
    with pytest.raises(StageError, match=r"has sha256 [0-9a-f]{64}, model\.toml says 1{64}") as caught:
        load_modules(load_spec(folder))
    assert caught.value.stage == "weights"


def moved_out(folder: Path, outside: Path) -> None:
    """Move the valid weights out of the model's folder, so that only their path can be refused."""
    outside.mkdir(exist_ok=True)
    (folder / "weights.safetensors").rename(outside / "weights.safetensors")


def point_at(folder: Path, path: str) -> None:
    text = (folder / "model.toml").read_text()
    assert 'path = "weights.safetensors"' in text
    (folder / "model.toml").write_text(text.replace('path = "weights.safetensors"', f"path = '{path}'"))


@pytest.mark.parametrize(
    "path", ["../outside/weights.safetensors", "deep/../../outside/weights.safetensors", "ABSOLUTE"]
)
def test_weights_are_not_read_from_outside(make_model: MakeModel, tmp_path: Path, path: str) -> None:
    folder = make_model()
    (folder / "deep").mkdir()
    moved_out(folder, tmp_path / "outside")
    path = path.replace("ABSOLUTE", str(tmp_path / "outside/weights.safetensors"))
    point_at(folder, path)
    with pytest.raises(StageError) as caught:
        load_modules(load_spec(folder))
    assert caught.value.stage == "weights"
    assert caught.value.message == f"path {path!r} must be relative and stay inside {folder}"


@pytest.mark.parametrize("linked", ["weights.safetensors", "deep"])
def test_weights_are_not_read_through_a_link_outside(make_model: MakeModel, tmp_path: Path, linked: str) -> None:
    """A link to the file itself, or to a folder on the way to it."""
    folder = make_model()
    moved_out(folder, tmp_path / "outside")
    path = "weights.safetensors" if linked == "weights.safetensors" else "deep/weights.safetensors"
    (folder / linked).symlink_to(tmp_path / "outside" / ("weights.safetensors" if linked == path else ""))
    point_at(folder, path)
    with pytest.raises(StageError) as caught:
        load_modules(load_spec(folder))
    assert caught.value.stage == "weights"
    assert caught.value.message == f"path {path!r} leaves {folder} through a symbolic link"


def test_a_link_inside_the_folder_is_followed(make_model: MakeModel) -> None:
    folder = make_model()
    moved_out(folder, folder / "deep")
    (folder / "weights.safetensors").symlink_to("deep/weights.safetensors")
    assert list(load_modules(load_spec(folder))) == ["body", "head"]


def test_a_path_outside_is_bad_input_on_the_command_line(make_model: MakeModel, command: Callable[..., Any]) -> None:
    folder = make_model()
    point_at(folder, "../weights.safetensors")
    done = command("hydramobile", "goldens", "--model", folder, "--out", folder / "out")
    assert done.code == 3 and "Traceback" not in done.err
    assert "must be relative and stay inside" in done.verdict
    assert not list((folder / "out").rglob("*.npz"))


@pytest.mark.parametrize("cut", [0, 4, 60, -8])
def test_corrupt_safetensors(make_model: MakeModel, cut: int) -> None:
    folder = make_model()
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    old = hashlib.sha256(whole).hexdigest()
    path.write_bytes(whole[:cut])
    (folder / "model.toml").write_text(
        (folder / "model.toml").read_text().replace(old, hashlib.sha256(whole[:cut]).hexdigest())
    )
    with pytest.raises(StageError, match="is not a readable safetensors file"):
        load_modules(load_spec(folder))


def test_a_pickle_is_never_read(make_model: MakeModel) -> None:
    folder = make_model()
    path = folder / "weights.safetensors"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    torch.save({"body.weight": torch.zeros(1)}, path)
    (folder / "model.toml").write_text(
        (folder / "model.toml").read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest())
    )
    with pytest.raises(StageError, match="is not a readable safetensors file"):
        load_modules(load_spec(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body.weight": torch.zeros(4, 3, 1, 1)}, "does not fit module 'body'"),
        ({"body.scale": torch.zeros(4)}, "does not fit module 'body'"),
        ({"head.conv.bias": None}, "does not fit module 'head'"),
        ({"tail.weight": torch.zeros(4)}, "'tail.weight' belongs to no module (modules: body, head)"),
        ({"body.bias": torch.tensor([0.0, float("nan"), 0.0, 0.0])}, "body.bias holds NaN or infinite values"),
        ({"body.bias": torch.full((4,), float("inf"))}, "body.bias holds NaN or infinite values"),
        ({"body.bias": torch.full((4,), 1e300, dtype=torch.float64)}, "float32, which cannot hold 1e+300"),
        ({"body.bias": torch.ones(4, dtype=torch.int32)}, "body.bias is int32, and the module's is float32"),
        ({"body.bias": torch.ones(4, dtype=torch.bool)}, "body.bias is bool, and the module's is float32"),
        ({"body.bias": torch.ones(4, dtype=torch.complex64)}, "body.bias is complex64, and the module's is float32"),
    ],
)
def test_weights_that_do_not_fit(make_model: MakeModel, change: dict[str, torch.Tensor | None], message: str) -> None:
    folder = make_model()
    merged = {**weights(folder), **change}
    rewrite(folder, {key: value for key, value in merged.items() if value is not None})
    with pytest.raises(StageError) as caught:
        load_modules(load_spec(folder))
    assert message in str(caught.value)
    assert caught.value.stage == "weights"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_other_float_dtypes(make_model: MakeModel, dtype: torch.dtype) -> None:
    folder = make_model()
    stored = {key: tensor.to(dtype) for key, tensor in weights(folder).items()}
    rewrite(folder, stored)
    state = load_modules(load_spec(folder))["body"].state_dict()
    assert torch.equal(state["weight"], stored["body.weight"].float())


@pytest.mark.parametrize(
    ("first", "made", "message"),
    [
        ("raise RuntimeError('no disk')", MADE, "net:build failed: RuntimeError: no disk"),
        (
            "pass",
            "[nn.Conv2d(3, 4, 1)]",
            "must return a dict of torch modules named ['body', 'head'], it returned list",
        ),
        ("pass", '{"body": nn.Identity()}', "it returned ['body']"),
        ("pass", '{"body": nn.Identity(), "haed": nn.Identity()}', "it returned ['body', 'haed']"),
        ("pass", '{"body": nn.Identity(), "head": 3}', "must return a dict of torch modules"),
        ("pass", '{"body": nn.Identity(), 3: nn.Identity()}', "must return a dict of torch modules"),
        ("raise SystemExit(0)", MADE, "net:build failed: SystemExit"),
        ("import nowhere_to_be_found", MADE, "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ],
)
def test_a_factory_that_fails(make_model: MakeModel, first: str, made: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        load_modules(load_spec(make_model(first=first, made=made)))
    assert message in str(caught.value)
    assert caught.value.stage == "factory"


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"PACKAGE.net:build": "nowhere_to_be_found.net:build"}, "No module named 'nowhere_to_be_found'"),
        ({"PACKAGE.net:build": "PACKAGE.net:biuld"}, "has no attribute 'biuld'"),
        ({"PACKAGE.net:build": "PACKAGE.net:MADE"}, "failed: "),
    ],
)
def test_no_such_factory(make_model: MakeModel, edits: dict[str, str], message: str) -> None:
    folder = make_model()
    toml = folder / "model.toml"
    for old, new in edits.items():
        text = toml.read_text().replace(old.replace("PACKAGE", folder.name), new.replace("PACKAGE", folder.name))
        toml.write_text(text)
    with pytest.raises(StageError) as caught:
        load_modules(load_spec(folder))
    assert message in str(caught.value)


def test_another_package_of_the_same_name(make_model: MakeModel) -> None:
    """A folder called like an installed package must not silently run that package's code."""
    folder = make_model()
    twin = folder.with_name("json")
    folder.rename(twin)
    toml = twin / "model.toml"
    toml.write_text(toml.read_text().replace(f"{folder.name}.net", "json.decoder").replace("build", "JSONDecoder"))
    (twin / "decoder.py").write_text((twin / "net.py").read_text())
    with pytest.raises(StageError, match="hidden by"):
        load_modules(load_spec(twin))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("self.conv(x)[:, :, 1:]", "tensor 'alpha' has shape [1, 1, 7, 6], the spec says [1, 1, 8, 6]"),
        ("self.conv(x).double()", "tensor 'alpha' has dtype float64, the spec says float32"),
        ("self.conv(x) / 0", "tensor 'alpha' holds infinite values alone"),
        ("(self.conv(x), self.conv(x))", "module 'head' returned 2 tensors, the spec names ['alpha']"),
        ("self.cnov(x)", "module 'head' failed: AttributeError"),
        ("self.conv(x[:, :2])", "module 'head' failed: RuntimeError"),
        ("None", "module 'head' returned"),
    ],
)
def test_modules_that_break_the_spec(make_model: MakeModel, forward: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        capture(load_spec(make_model(forward=forward)))
    assert message in str(caught.value)
    assert caught.value.stage == "capture"
