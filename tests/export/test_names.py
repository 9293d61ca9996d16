"""Names: tensors, modules and layers called like keywords, types of MIL and tensors of PyTorch's ONNX exporter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.passes.rename_keywords import rename
from export.program import Program, attribute_names
from export.targets.coreml.names import unreserved
from export.targets.coreml.usage import literal as swift
from export.targets.litert.usage import literal as kotlin
from hydramobile.targets import target_info
from support.emit import convert, run_entry
from support.programs import Part, wired_program

TARGETS = ("onnx", "coreml", "litert", "tfjs")
X = torch.linspace(-2, 2.5, 24).reshape(2, 3, 4)
OUTPUTS = ("any", "any_", "int32", "list", "state", "program", "remainder", "linear", "mul", "toString", "class", "in")


class Named(nn.Module):
    """Layers and a parameter with keywords as names."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"class": nn.Linear(4, 4), "class_": nn.Linear(4, 4), "1x1": nn.Linear(4, 4)})
        self.register_parameter("lambda", nn.Parameter(torch.rand(4)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.layers["class"](x) + self.layers["class_"](x) * getattr(self, "lambda") + self.layers["1x1"](x)
        z = torch.remainder(y, 0.3)
        return tuple(z * (i + 1) + y for i in range(len(OUTPUTS)))


class Copies(nn.Module):
    """The same tensor twice, equal computations, an input, and views of another output."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = torch.tanh(x)
        return y, y, torch.tanh(x), x, y.reshape(6, 4), y[0], x.transpose(0, 1)


def checked(program: Program, target: str, folder: Path, recipe: str = "float32") -> None:
    """Run every entry and compare all of its outputs with PyTorch's."""
    built = convert(program, target, folder / "scratch").emit(recipe, folder / "artifact")
    built.read_back()
    for entry in built.emitted.entries:
        inputs = {port.name: program.tensors[port.name].numpy() for port in entry.inputs}
        outputs = run_entry(target_info(target).test_runtime, built.folder, entry, inputs)
        assert list(outputs) == list(program.spec.entries[entry.name].outputs)
        files = [port.file_name for port in (*entry.inputs, *entry.outputs)]
        assert len(set(files)) == len(files)
        for name, output in outputs.items():
            assert output.shape == tuple(program.tensors[name].shape)
            error = abs(torch.from_numpy(output) - program.tensors[name]).max()
            assert error < (1e-5 if recipe == "float32" else 0.02), (target, entry.id, name)


@pytest.mark.parametrize("target", TARGETS)
def test_tensors_and_layers_may_have_any_name(target: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    parts = {"net": Part(Named(), ("tensor",), OUTPUTS)}
    checked(wired_program(parts, {"tensor": X}), target, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_modules_and_entries_may_have_any_name(target: str, tmp_path: Path) -> None:
    parts = {
        "import": Part(nn.Linear(4, 4), ("fp32",), ("while",)),
        "list": Part(nn.Linear(4, 3), ("while",), ("return",)),
        "my-head": Part(nn.Linear(4, 2), ("while",), ("tuple",)),
    }
    checked(wired_program(parts, {"fp32": X}, fused="main"), target, tmp_path)


@pytest.mark.parametrize("recipe", ["float32", "float16"])
@pytest.mark.parametrize("target", TARGETS)
def test_each_output_has_its_own_name(target: str, recipe: str, tmp_path: Path) -> None:
    parts = {"net": Part(Copies(), ("x",), ("y", "again", "equal", "input", "flat", "first", "turned"))}
    checked(wired_program(parts, {"x": X}), target, tmp_path, recipe)


def test_no_two_names_become_one() -> None:
    assert attribute_names(["class", "class_", "type", "head"]) == {
        "class": "class_", "class_": "class__", "type": "type_", "head": "head"
    }  # fmt: skip
    assert rename({"a.in.w", "a.in_.w", "b.w"}) == {"a.in.w": "a.in_.w_"}
    assert [kotlin('a"$b'), swift('a"b')] == ['"a\\"\\$b"', '"a\\"b"']
    assert [unreserved("any", {"any", "any_"}), unreserved("alpha", ())] == ["any__", "alpha"]
