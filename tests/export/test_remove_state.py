"""Nets with state or randomness, and nets whose outputs are inputs or constants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.passes.aten import is_mutable
from export.program import capture
from export.targets.coreml import convert as coreml_convert
from export.targets.coreml import pipeline
from export.targets.coreml.passes.copy_passthrough_outputs import copy_passthrough_outputs
from hydramobile.errors import StageError
from hydramobile.spec import load_spec
from support.emit import beyond, emit_run_compare
from support.programs import Cases, ops_program

HOOKED = """

plain = build


def build():
    import torch

    modules = plain()
    for module in modules.values():
        module.register_buffer("runs", torch.zeros(()), persistent=False)

        def after(module, inputs, output):
            module.runs += 1
            return {output}

        module.register_forward_hook(after)
    return modules
"""


@pytest.mark.parametrize("output", ["output + 0.1 * torch.rand_like(output)", "output * module.runs"])
def test_an_output_that_differs_in_a_second_run_is_refused(own_model: Callable[..., Path], output: str) -> None:
    folder = own_model("classifier")
    path = folder / "net.py"
    path.write_text(path.read_text(encoding="utf-8") + HOOKED.format(output=output), encoding="utf-8")
    with pytest.raises(StageError, match=r"returns another '\w+' for the same input the second time"):
        capture(load_spec(folder))


class Counting(nn.Module):
    runs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        output: Tensor = self.layer(x)
        return output


def test_a_counter_of_runs_is_left_out(tmp_path: Path) -> None:
    """Core ML would turn it into a state, which needs iOS 18 and is never read."""
    program = ops_program({"y": Counting()}, (1, 3, 8, 8))
    exported = program.exported(program.spec.entries["net"]).program
    assert not any(is_mutable(node.target) for node in exported.graph_module.graph.nodes)
    assert beyond(emit_run_compare(program, "coreml", tmp_path), 1e-5) == {}


class Cache(nn.Module):
    """A cache of keys in a buffer, written in place at a position from the input (after apple/coremltools#2716)."""

    keys: Tensor

    def __init__(self, overwritten: bool) -> None:
        super().__init__()
        self.overwritten = overwritten
        self.register_buffer("keys", torch.zeros(1, 5, 4))

    def forward(self, x: Tensor) -> Tensor:
        position = (x[0, 0, :1].abs() * 2).long().clamp(max=4)
        if self.overwritten:
            self.keys.copy_(x[:, :5] * 2)
        self.keys[:, position] = x[:, :1]
        return self.keys.sum(1)


def test_a_cache_that_outlives_a_call_is_refused() -> None:
    """LiteRT and ONNX would read the cache as it was at the export, Core ML would need a state."""
    program = ops_program({"y": Cache(overwritten=False)}, (1, 6, 4))
    with pytest.raises(StageError, match=r"state in buffer '.*keys' .*test_remove_state.py:\d+, 'self.keys") as caught:
        program.exported(program.spec.entries["net"])
    assert caught.value.stage == "capture"
    with pytest.raises(StageError, match="Take the state as an input"):
        coreml_convert.aten_graph(program, program.spec.entries["net"])


def test_a_buffer_that_is_overwritten_first_is_no_state(tmp_path: Path) -> None:
    program = ops_program({"y": Cache(overwritten=True)}, (1, 6, 4))
    exported = program.exported(program.spec.entries["net"]).program
    assert not exported.graph_signature.buffers_to_mutate
    assert beyond(emit_run_compare(program, "onnx", tmp_path), 1e-5) == {}


class Drawing(nn.Module):
    """Writes into copies, of a buffer and of the input, are not state."""

    paper: Tensor
    ink: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("paper", torch.ones(1, 3, 10, 10))
        self.register_buffer("ink", torch.full((8,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        copy, sheet = x.clone(), self.paper.clone()
        copy[:, :, 0] = self.ink
        sheet[:, :, 1:-1, 1:-1] = copy
        sheet[:, 0].mul_(0.5)
        return sheet


@pytest.mark.parametrize("target", ["coreml", "onnx"])
def test_writes_into_copies_stay(target: str, tmp_path: Path) -> None:
    program = ops_program({"y": Drawing()}, (1, 3, 8, 8))
    assert beyond(emit_run_compare(program, target, tmp_path), 1e-5) == {}


PASSED: Cases = {
    "y": nn.Conv2d(3, 4, 3),
    "same": lambda x: x,
    "rested": lambda x: F.alpha_dropout(F.dropout(x, training=False), 0.3, training=False),
    "anchors": lambda x: torch.arange(12.0).reshape(3, 4),
}


@pytest.mark.parametrize("name", ["float32", "float16"])
@pytest.mark.parametrize("target", ["coreml", "onnx"])
def test_inputs_and_constants_as_outputs(target: str, name: str, tmp_path: Path) -> None:
    """Encoders return the photo among their features, detectors their anchors."""
    errors = emit_run_compare(ops_program(PASSED, (1, 3, 8, 8)), target, tmp_path, name)
    assert errors.keys() == PASSED.keys() and beyond(errors, 1e-5 if name == "float32" else 2e-3) == {}


def test_core_ml_refuses_inputs_as_outputs_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tuple(each for each in pipeline.ATEN_PASSES if each is not copy_passthrough_outputs)
    monkeypatch.setattr(pipeline, "ATEN_PASSES", kept)
    with pytest.raises(StageError, match="input name"):
        emit_run_compare(ops_program(PASSED, (1, 3, 8, 8)), "coreml", tmp_path)
