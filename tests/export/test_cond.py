"""Branches on data: `torch.cond` becomes a selection, and a branch in Python is refused by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.passes.decompose.cond import decompose_cond
from export.program import Program
from hydramobile.errors import StageError
from hydramobile.targets import target_info
from support.emit import Arrays, Built, convert, run_entry
from support.programs import Part, wired_program

TARGETS = ("onnx", "coreml", "litert", "tfjs")
X = torch.linspace(-2, 2.5, 24).reshape(2, 3, 4)


class Branches(nn.Module):
    """Conditions of shape [] and [1], a nested branch, several operands and outputs, weights in one branch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        def inner(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            first, second = torch.cond(x.min() > -1, lambda x: (x * 2, x + 1), lambda x: (x * 3, x - 1), (x,))
            return first + y, second

        y = torch.cond(x.mean() > 0.5, lambda x: torch.relu(self.a(x)), lambda x: torch.tanh(self.b(x)), (x,))
        first, second = torch.cond((x.max() > 1).reshape(1), inner, lambda x, y: (x - y, y * 1.0), (x, y))
        return y, first, second, torch.cond(x.mean() > 0, lambda x: x.mean(), lambda x: x.max(), (x,))


class Python(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 0:
            return x * 2
        return x


class Read(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        peak = float(x.abs().max())
        return x / (peak + 1e-6)


class Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, : int((x > 0).sum() // 20)]


class Looped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        values = torch.while_loop(lambda x: x.amax() < 4, lambda x: (x * 2.0,), (x,))
        result: Tensor = values[0]
        return result


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.abs().max().item() + 1e-6) + (x > 0).sum().item()


def program_of(module: nn.Module, *outputs: str) -> Program:
    torch.manual_seed(3)
    return wired_program({"net": Part(module, ("x",), outputs or ("y",))}, {"x": X})


@pytest.mark.parametrize("target", TARGETS)
def test_both_sides_are_computed_and_one_is_selected(target: str, tmp_path: Path) -> None:
    """The file takes another branch for another input than the example."""
    program = program_of(Branches(), "y", "first", "second", "score")
    built = convert(program, target, tmp_path / "scratch").emit("float32", tmp_path / "artifact")
    for x in (X, X + 4, X * 0.1, torch.zeros_like(X)):
        with torch.no_grad():
            wanted = dict(zip(("y", "first", "second", "score"), program.modules["net"](x), strict=True))
        outputs = run_on(built, {"x": x})
        for name, value in wanted.items():
            assert outputs[name].shape == tuple(value.shape)
            assert abs(torch.from_numpy(outputs[name]) - value).max() < 1e-5, (name, target)


def run_on(built: Built, inputs: dict[str, Tensor]) -> Arrays:
    runtime = target_info(built.converted.target.name).test_runtime
    return run_entry(runtime, built.folder, built.entry, {name: value.numpy() for name, value in inputs.items()})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("module", "line"),
    [
        (Python(), r"if x\.mean\(\) > 0:"),
        (Read(), r"peak = float\(x\.abs\(\)\.max\(\)\)"),
        (Counted(), r"return x\[:, : int"),
    ],
    ids=["branch", "number", "size"],
)
def test_python_that_reads_a_tensor_is_refused_by_its_line(
    target: str, module: nn.Module, line: str, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=rf"entry 'net': test_cond\.py:\d+, '{line}.*torch\.cond") as caught:
        convert(program_of(module), target, tmp_path)
    assert caught.value.stage == "capture"


def test_a_loop_on_data_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"while_loop"):
        convert(program_of(Looped()), "onnx", tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_item_stays_a_tensor(target: str, tmp_path: Path) -> None:
    """The number is read from each input anew."""
    program = program_of(Item())
    built = convert(program, target, tmp_path / "scratch").emit("float32", tmp_path / "artifact")
    for x in (X, X * 3 + 1):
        outputs = run_on(built, {"x": x})
        assert abs(torch.from_numpy(outputs["y"]) - program.modules["net"](x)).max() < 1e-5


def test_a_program_without_branches_is_unchanged() -> None:
    exported = torch.export.export(nn.Linear(4, 4), (X,))
    result = decompose_cond(exported)
    assert result.program is exported and not result.modified
